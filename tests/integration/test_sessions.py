"""Sessions against a real Redis-protocol server, and against one that goes away."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from redis import Redis as PlainRedis

from ecounters.errors import RequestRefused, Stop
from ecounters.query.request import Query
from streams.access import sessions as module
from streams.access.accounts import Accounts
from streams.access.sessions import Account, Sessions
from streams.basics.times import zone_named
from streams.settings.table import Settings
from tests.support.tcp_relay import Relay

INDIA = "Asia/Kolkata"


class Clock:
    """Seconds that go on when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def connected(url: str, clock: Callable[[], float]) -> Sessions:
    """Sessions as a worker has them, with a clock of the test's."""
    sessions = Sessions.connect(url, Settings().session_cache_s)
    sessions._clock = clock
    return sessions


def with_sessions(
    url: str, test: Callable[[Sessions, Accounts, str], Awaitable[None]], clock: Clock | None = None
) -> None:
    """Run a test with Sessions and a user id of its own."""

    async def work() -> None:
        sessions = connected(url, clock or time.monotonic)
        try:
            await test(sessions, Accounts(sessions._redis), f"user-{secrets.token_hex(4)}")
        finally:
            await sessions.close()

    asyncio.run(work())


async def refusal(sessions: Sessions, request: Query) -> RequestRefused:
    """What a request is refused with."""
    with pytest.raises(RequestRefused) as caught:
        await sessions.authorize(request)
    return caught.value


async def code(sessions: Sessions, request: Query) -> int:
    """The code that a request is refused with, or 0 if it is not."""
    try:
        await sessions.authorize(request)
    except RequestRefused as refused:
        return refused.code
    return 0


def test_both_ways_in(redis_url: str) -> None:
    """A token opens its user's account, and so does a session by itself or with both."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, INDIA)
        ssid = await accounts.open_session(user, 60)
        account = Account(user, zone_named(INDIA))
        assert await sessions.authorize(Query(user_id=user, token=token)) == account
        assert await sessions.authorize(Query(ssid=ssid)) == account
        assert await sessions.authorize(Query(ssid=ssid, user_id=user, token=token)) == account

    with_sessions(redis_url, test)


def test_every_denial_has_the_same_words(redis_url: str) -> None:
    """Nobody learns from a refusal which part was wrong."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        other, denied = user + "-other", user + "-denied"
        other_token = await accounts.add_user(other, "UTC")
        denied_token = await accounts.add_user(denied, "UTC", deny=("overallCount",))
        ssid = await accounts.open_session(user, 60)
        denied_ssid = await accounts.open_session(denied, 60)
        wrong = [
            Query(user_id=user + "-nobody", token=token),
            Query(user_id=user),
            Query(user_id=user, token=token + "x"),
            Query(user_id=user, token=other_token),
            Query(ssid=ssid + "x"),
            Query(ssid=ssid, user_id=other),
            Query(ssid=ssid, user_id=other, token=other_token),
            Query(ssid=ssid, user_id=user, token=other_token),
            Query(ssid=ssid, token=other_token),
            Query(ssid="\ud800"),
            Query(user_id="\ud800", token="\ud800"),
            Query(user_id=denied, token=denied_token),
            Query(ssid=denied_ssid),
        ]
        for request in wrong:
            refused = await refusal(sessions, request)
            assert (refused.code, refused.http_status, str(refused)) == (1015, 403, "Permission denied"), request

    with_sessions(redis_url, test)


def test_nothing_given_is_1002(redis_url: str) -> None:
    """Without ssid and userId there is nobody to ask for."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        assert await code(sessions, Query()) == 1002
        assert await code(sessions, Query(token="t")) == 1002

    with_sessions(redis_url, test)


def test_an_agent_must_be_logged_in(redis_url: str) -> None:
    """1043 for an agent's session after log-out; but who has not proved to be the user only hears 1015."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        working = await accounts.open_session(user, 60, "Asha")
        away = await accounts.open_session(user, 60, "Ravi", logged_in=False)
        assert await code(sessions, Query(ssid=working)) == 0
        assert await code(sessions, Query(ssid=away)) == 1043
        assert await code(sessions, Query(ssid=away, user_id=user, token="wrong")) == 1015
        with pytest.raises(Stop, match="--agent"):
            await accounts.open_session(user, 60, logged_in=False)

    with_sessions(redis_url, test)


def test_a_closed_session_ends_within_seconds(redis_url: str) -> None:
    """A worker that knows a session asks again after FRESH_S, and then refuses it."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 60)
        assert await code(sessions, Query(ssid=ssid)) == 0
        await accounts.close_session(ssid)
        clock.now += module.FRESH_S + 0.01
        assert await code(sessions, Query(ssid=ssid)) == 1015
        with pytest.raises(Stop, match="no such session"):
            await accounts.close_session(ssid)

    with_sessions(redis_url, test, clock)


def test_a_session_expires(redis_url: str) -> None:
    """The cache holds a session no longer than Redis does, and Redis has its time to live."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 1)
        assert await code(sessions, Query(ssid=ssid)) == 0
        key = "ecounters:session:" + hashlib.sha256(ssid.encode()).hexdigest()
        assert 0 < await sessions._redis.pttl(key) <= 1000
        await accounts.close_session(ssid)
        clock.now += 1.1  # less than FRESH_S
        assert await code(sessions, Query(ssid=ssid)) == 1015

    with_sessions(redis_url, test, clock)


def test_removing_a_user_ends_its_sessions_for_good(redis_url: str) -> None:
    """Neither the removed user's sessions nor its token come back with a new user of that name."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 60)
        assert await code(sessions, Query(ssid=ssid)) == 0
        await accounts.remove_user(user)
        clock.now += module.FRESH_S + 0.01
        assert await code(sessions, Query(ssid=ssid)) == 1015
        await accounts.add_user(user, "UTC")
        assert await code(sessions, Query(ssid=ssid)) == 1015
        assert await code(sessions, Query(user_id=user, token=token)) == 1015

    with_sessions(redis_url, test, clock)


def test_a_new_token_replaces_the_old(redis_url: str) -> None:
    """After `user token` only the new one opens; the user's other fields and sessions stay."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        old = await accounts.add_user(user, INDIA)
        ssid = await accounts.open_session(user, 60)
        new = await accounts.new_token(user)
        assert await code(sessions, Query(user_id=user, token=old)) == 1015
        assert (await sessions.authorize(Query(user_id=user, token=new))).zone.key == INDIA
        assert await code(sessions, Query(ssid=ssid)) == 0

    with_sessions(redis_url, test)


def test_what_does_not_go_is_said(redis_url: str) -> None:
    """Users who are there or not there, and wrong words, end in one line that says so."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        wrong: list[tuple[Awaitable[object], str]] = [
            (accounts.add_user(user, "UTC"), "there already"),
            (accounts.add_user("", "UTC"), "1 to 128"),
            (accounts.add_user("u" * 129, "UTC"), "1 to 128"),
            (accounts.add_user("a\nb", "UTC"), "printable"),
            (accounts.add_user(user + "2", "Mars"), "IANA"),
            (accounts.add_user(user + "2", "UTC", deny=("all",)), "denied"),
            (accounts.add_user(user + "2", "UTC", token=""), "1 to 512"),
            (accounts.new_token(user + "2"), "no user"),
            (accounts.remove_user(user + "2"), "no user"),
            (accounts.open_session(user + "2", 60), "no user"),
            (accounts.open_session(user, 0), "a second at least"),
        ]
        for attempt, words in wrong:
            with pytest.raises(Stop, match=words):
                await attempt
        assert user + "2" not in [found.user_id for found in await accounts.list_users()]

    with_sessions(redis_url, test)


def test_users_are_listed(redis_url: str) -> None:
    """The list has zone and denials, sorted by id, and no secret."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user + "-b", INDIA, deny=("overallCount",))
        await accounts.add_user(user + "-a", "UTC")
        mine = [tuple(found) for found in await accounts.list_users() if found.user_id.startswith(user)]
        assert mine == [(user + "-a", "UTC", ()), (user + "-b", INDIA, ("overallCount",))]

    with_sessions(redis_url, test)


def test_concurrent_adds_make_one_user(redis_url: str) -> None:
    """Of several who add one user at once, one gets a token, and that token is the user's."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        made = await asyncio.gather(*(accounts.add_user(user, "UTC") for _ in range(8)), return_exceptions=True)
        tokens = [one for one in made if isinstance(one, str)]
        assert len(tokens) == 1
        assert all(isinstance(one, Stop) for one in made if one not in tokens)
        assert await code(sessions, Query(user_id=user, token=tokens[0])) == 0

    with_sessions(redis_url, test)


def test_no_secret_is_kept_in_clear(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither ssid nor token can be found in Redis, in a worker's cache or in its log; and equal tokens differ."""
    caplog.set_level(logging.DEBUG)
    kept: list[str] = []

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        await accounts.add_user(user + "2", "UTC", token=token)
        ssid = await accounts.open_session(user, 60)
        await sessions.authorize(Query(ssid=ssid, user_id=user, token=token))
        await code(sessions, Query(user_id=user, token=token + "wrong"))
        with PlainRedis.from_url(redis_url) as redis:
            keys = list(redis.scan_iter("ecounters:*"))
            hashes = [redis.hgetall(key) for key in keys if key != b"ecounters:users"]
            kept.extend([repr(keys), repr(hashes), repr(sessions._cache), caplog.text])
            users = [redis.hgetall(f"ecounters:user:{one}") for one in (user, user + "2")]
        assert users[0][b"token"] != users[1][b"token"]
        assert user in repr(hashes)
        assert all(secret not in text for secret in (ssid, token) for text in kept)

    with_sessions(redis_url, test)


def test_the_zone_for_the_roll_up(redis_url: str) -> None:
    """The account's zone, or None where there is no account."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, INDIA)
        assert await sessions.zone_of(user) == zone_named(INDIA)
        assert await sessions.zone_of(user + "2") is None

    with_sessions(redis_url, test)


def test_the_cache_is_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently confirmed go first, and refusals take no room."""
    monkeypatch.setattr(module, "CACHED_MAX", 3)

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        for _ in range(5):
            await sessions.authorize(Query(ssid=await accounts.open_session(user, 60)))
            await code(sessions, Query(ssid="wrong"))
        assert len(sessions._cache) == 3

    with_sessions(redis_url, test)


# ------------------------------------------------------------------------------------- Redis goes away


def with_relay(url: str, clock: Clock, test: Callable[[Sessions, Accounts, Relay, str], Awaitable[None]]) -> None:
    """Run a test with Sessions that reach Redis through a relay."""

    async def work() -> None:
        parts = urlsplit(url)
        async with Relay(parts.hostname or "", parts.port or 0) as relay:
            sessions = connected(f"redis://127.0.0.1:{relay.port}/0", clock)
            try:
                await test(sessions, Accounts(sessions._redis), relay, f"user-{secrets.token_hex(4)}")
            finally:
                await sessions.close()

    asyncio.run(work())


def test_without_redis_only_known_sessions_go_on(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is away: what was good is good for SESSION_CACHE_S, all else is 1010; then Redis is asked again."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: Relay, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        known, unknown = Query(ssid=await accounts.open_session(user, 600)), Query(user_id=user, token=token)
        assert await code(sessions, known) == 0
        await relay.take_changes()
        clock.now += 59
        assert await code(sessions, known) == 0
        refused = await refusal(sessions, unknown)
        assert (refused.code, refused.http_status) == (1010, 503)
        assert str(refused).startswith("Error in DB connect")
        assert await sessions.zone_of(user) is None
        clock.now += 2
        assert await code(sessions, known) == 1010
        await relay.mend()
        clock.now += 2
        assert await code(sessions, known) == 0
        assert await code(sessions, unknown) == 0

    with_relay(redis_url, clock, test)
    said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert [line.split(" used")[0] for line in said] == ["Redis cannot be", "Redis can be"]


def test_a_session_that_ends_during_an_outage_is_not_used_longer(redis_url: str) -> None:
    """The short cache does not lengthen a session."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: Relay, user: str) -> None:
        await accounts.add_user(user, "UTC")
        request = Query(ssid=await accounts.open_session(user, 30))
        assert await code(sessions, request) == 0
        await relay.take_changes()
        clock.now += 29
        assert await code(sessions, request) == 0
        clock.now += 2
        assert await code(sessions, request) == 1010

    with_relay(redis_url, clock, test)


def test_a_redis_that_hangs_holds_up_one_request_only(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is given up after REDIS_LIMIT_S, and the next ones are answered without asking."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: Relay, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        monkeypatch.setattr(module, "REDIS_LIMIT_S", 0.3)  # now that the connections have their own, longer limits
        relay.hang()
        began = time.monotonic()
        assert await code(sessions, Query(user_id=user, token=token)) == 1010
        assert 0.2 < time.monotonic() - began < 0.95
        began = time.monotonic()
        answers = [await code(sessions, Query(user_id=user, token=token)) for _ in range(100)]
        assert (set(answers), time.monotonic() - began < 0.2) == ({1010}, True)

    with_relay(redis_url, clock, test)


def test_a_connection_that_the_server_closed_is_no_outage(redis_url: str) -> None:
    """After a restart of Redis the first request finds its connection dead, and does not fail for it."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, relay: Relay, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        await relay.take_changes()
        await relay.mend()
        assert await code(sessions, Query(user_id=user, token=token)) == 0
        assert relay.connections == 2

    with_relay(redis_url, clock, test)
