"""Sessions while Redis is away or hangs, through a relay in front of a real Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

from ecounters.query.request import Query
from streams.access import look_ups as module
from streams.access.accounts import Accounts
from streams.access.sessions import Sessions
from tests.support.sessions import Clock, refusal, refusal_code, run_through_relay
from tests.support.tcp_relay import TcpRelay


def test_without_redis_only_cached_sessions_are_valid(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Sessions checked within SESSION_CACHE_S stay valid and all else gets 1010, until Redis is back."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: TcpRelay, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        known, unknown = Query(ssid=await accounts.open_session(user, 600)), Query(user_id=user, token=token)
        assert await refusal_code(sessions, known) == 0
        await relay.cut()
        clock.now += 59
        assert await refusal_code(sessions, known) == 0
        refused = await refusal(sessions, unknown)
        assert (refused.code, refused.http_status) == (1010, 503)
        assert str(refused).startswith("Error in DB connect")
        assert await sessions.zone_of(user) is None
        clock.now += 2
        assert await refusal_code(sessions, known) == 1010
        await relay.mend()
        clock.now += 2
        assert await refusal_code(sessions, known) == 0
        assert await refusal_code(sessions, unknown) == 0

    run_through_relay(redis_url, clock, test)
    said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert [line.split(" used")[0] for line in said] == ["Redis cannot be", "Redis can be"]


def test_an_outage_does_not_prolong_a_session(redis_url: str) -> None:
    """A session that expires during an outage is refused."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: TcpRelay, user: str) -> None:
        await accounts.add_user(user, "UTC")
        request = Query(ssid=await accounts.open_session(user, 30))
        assert await refusal_code(sessions, request) == 0
        await relay.cut()
        clock.now += 29
        assert await refusal_code(sessions, request) == 0
        clock.now += 2
        assert await refusal_code(sessions, request) == 1010

    run_through_relay(redis_url, clock, test)


def test_a_redis_that_hangs_delays_one_request_only(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request waits BATCH_LIMIT_S; the next ones get 1010 at once."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: TcpRelay, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        monkeypatch.setattr(
            module, "BATCH_LIMIT_S", 0.3
        )  # after the connections were opened, so that this limit is the shorter one
        relay.hang()
        began = time.monotonic()
        assert await refusal_code(sessions, Query(user_id=user, token=token)) == 1010
        assert 0.2 < time.monotonic() - began < 1.9
        monkeypatch.setattr(module, "BATCH_LIMIT_S", 60.0)  # so that one that waited would be seen on any machine
        async with asyncio.timeout(30):
            answers = [await refusal_code(sessions, Query(user_id=user, token=token)) for _ in range(100)]
        assert set(answers) == {1010}

    run_through_relay(redis_url, clock, test)


def test_a_connection_closed_by_redis_is_no_outage(redis_url: str) -> None:
    """After a restart of Redis the first request opens a new connection and succeeds."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: TcpRelay, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        await relay.cut()
        await relay.mend()
        assert await refusal_code(sessions, Query(user_id=user, token=token)) == 0
        assert relay.connections == 2

    run_through_relay(redis_url, clock, test)
