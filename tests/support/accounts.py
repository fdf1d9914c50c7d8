"""Users and sessions of a test, created in its Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from streams.access.accounts import Accounts
from tests.support.workers import ROOT, Deployment

TOKEN: Final = "a-token-for-tests"


def noon_zone() -> str:
    """A zone in which it is about noon now, so that "today" does not end while a test runs."""
    west = datetime.now(UTC).hour - 12
    return f"Etc/GMT{west:+d}"


def add_users(deployment: Deployment, users: Iterable[str]) -> None:
    """Create users with TOKEN and a zone where it is noon. Users that exist get TOKEN as their new token."""

    async def add() -> None:
        accounts = Accounts.connect(deployment.loaded())
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


def erase(deployment: Deployment, user: str, *options: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``ecounters user erase``. ``typed``: what is typed when it asks."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "user", "erase", *options, "--", user],
        cwd=ROOT, env=deployment.environment(), input=typed, capture_output=True, encoding="utf-8", timeout=60,
        check=False,
    )  # fmt: skip


def open_session(deployment: Deployment, user: str = "u1", **options: Any) -> str:
    """Open a session of a user for 600 s and return its ssid. ``options``: of Accounts.open_session."""

    async def open_() -> str:
        accounts = Accounts.connect(deployment.loaded())
        try:
            return await accounts.open_session(user, 600, **options)
        finally:
            await accounts.close()

    return asyncio.run(open_())
