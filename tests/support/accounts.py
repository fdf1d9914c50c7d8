"""The users of a test and their sessions, as they stand in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from streams.access.accounts import Accounts
from tests.support.workers import Deployment

TOKEN: Final = "a-token-for-tests"


def noon_zone() -> str:
    """A zone in which it is about noon: no test's today ends while it runs."""
    west = datetime.now(UTC).hour - 12
    return f"Etc/GMT{west:+d}"


def add_users(deployment: Deployment, users: Iterable[str]) -> None:
    """Let these users ask, with TOKEN."""

    async def add() -> None:
        accounts = Accounts.connect(deployment.redis_url)
        try:
            known = {one.user_id for one in await accounts.list_users()}
            for user in users:
                if user not in known:
                    await accounts.add_user(user, noon_zone(), TOKEN)
                else:
                    await accounts.new_token(user, TOKEN)
        finally:
            await accounts.close()

    asyncio.run(add())


def open_session(deployment: Deployment, **options: Any) -> str:
    """A session of u1."""

    async def open_() -> str:
        accounts = Accounts.connect(deployment.redis_url)
        try:
            return await accounts.open_session("u1", 600, **options)
        finally:
            await accounts.close()

    return asyncio.run(open_())
