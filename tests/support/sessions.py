"""Running a test with Sessions and Accounts of its own, directly or through a relay that can be cut."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from redis import Redis as PlainRedis

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.accounts import Accounts
from streams.access.look_ups import LookUps
from streams.access.sessions import Sessions
from streams.access.store import connect
from streams.settings.table import Settings
from tests.support.tcp_relay import TcpRelay

INDIA = "Asia/Kolkata"


class Clock:
    """A clock in seconds that a test moves by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def connected(url: str, clock: Callable[[], float]) -> tuple[Sessions, Accounts]:
    """Sessions with the default cache time and a clock of the test's, and Accounts. Both use one client of Redis."""
    redis, settings = connect(url), Settings()
    sessions = Sessions(LookUps(redis, clock), settings.session_cache_s, clock)
    return sessions, Accounts(redis, settings.sessions_per_user)


def run_with_sessions(
    url: str, test: Callable[[Sessions, Accounts, str], Awaitable[None]], clock: Clock | None = None
) -> None:
    """Run ``test`` with Sessions, Accounts and a new user id, and close the connections afterwards."""

    async def work() -> None:
        sessions, accounts = connected(url, clock or time.monotonic)
        try:
            await test(sessions, accounts, f"user-{secrets.token_hex(4)}")
        finally:
            await sessions.close()

    asyncio.run(work())


def kept_in_redis(url: str) -> str:
    """All keys of the project in Redis with their values, as text."""
    with PlainRedis.from_url(url) as redis:
        read = {b"hash": redis.hgetall, b"set": redis.smembers, b"zset": lambda key: redis.zrange(key, 0, -1)}
        return repr([(key, read[redis.type(key)](key)) for key in redis.scan_iter("ecounters:*")])


async def refusal(sessions: Sessions, request: Query) -> RequestRefused:
    """The error with which a query is refused. Fails if the query is authorized."""
    with pytest.raises(RequestRefused) as caught:
        await sessions.authorize(request)
    return caught.value


async def refusal_code(sessions: Sessions, request: Query) -> int:
    """The code with which a query is refused; 0 if it is authorized."""
    try:
        await sessions.authorize(request)
    except RequestRefused as refused:
        return refused.code
    return 0


def run_through_relay(
    url: str, clock: Clock, test: Callable[[Sessions, Accounts, TcpRelay, str], Awaitable[None]]
) -> None:
    """Run ``test`` with Sessions and Accounts that reach Redis through a relay."""

    async def work() -> None:
        parts = urlsplit(url)
        async with TcpRelay(parts.hostname or "", parts.port or 0) as relay:
            sessions, accounts = connected(f"redis://127.0.0.1:{relay.port}/0", clock)
            try:
                await test(sessions, accounts, relay, f"user-{secrets.token_hex(4)}")
            finally:
                await sessions.close()

    asyncio.run(work())
