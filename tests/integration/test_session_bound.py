"""How many sessions a user can have, against a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import aiohttp
import pytest
from redis import Redis as PlainRedis

from ecounters.query.request import Query
from streams.access.accounts import Accounts
from streams.access.sessions import Sessions
from streams.access.store import POOL_MAX, connect, encode, session_key, sessions_key, user_key
from tests.support.accounts import TOKEN, add_users
from tests.support.sessions import refusal_code, run_with_sessions
from tests.support.workers import Deployment, Worker

BOUND = 3
LOG_INS = 2_335
AT_ONCE = 60
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def redis(redis_url: str) -> Iterable[PlainRedis]:
    """A client of the tests' Redis."""
    with PlainRedis.from_url(redis_url) as client:
        yield client


def count_sessions(redis: PlainRedis, user: str) -> int:
    """How many sessions of a user there are, whether or not they are in the user's list."""
    return sum(redis.hget(key, "user") == encode(user) for key in redis.scan_iter("ecounters:session:*"))


async def works(sessions: Sessions, ssids: Iterable[str]) -> list[bool]:
    """Which of the sessions are valid."""
    return [await refusal_code(sessions, Query(ssid=ssid)) == 0 for ssid in ssids]


def test_more_sessions_than_the_bound_end_the_oldest(redis_url: str, redis: PlainRedis) -> None:
    """The newest BOUND sessions are valid, and those of other users stay."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        bounded = Accounts(accounts._redis, BOUND)
        await bounded.add_user(user, "UTC")
        await bounded.add_user(user + "2", "UTC")
        other = await bounded.open_session(user + "2", 60)
        ssids = [await bounded.open_session(user, 60) for _ in range(BOUND + 4)]
        assert await works(sessions, ssids) == [False] * 4 + [True] * BOUND
        assert await works(sessions, [other]) == [True]
        assert (count_sessions(redis, user), redis.zcard(sessions_key(user))) == (BOUND, BOUND)

    run_with_sessions(redis_url, test)


def test_only_open_sessions_count(redis_url: str, redis: PlainRedis) -> None:
    """Sessions that were closed or have expired end no other, and are forgotten."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        bounded = Accounts(accounts._redis, BOUND)
        await bounded.add_user(user, "UTC")
        oldest, closed, expired = [await bounded.open_session(user, 60) for _ in range(BOUND)]
        await bounded.close_session(closed)
        assert redis.zcard(sessions_key(user)) == BOUND - 1
        redis.delete(session_key(expired))  # as Redis does at the end of its time
        newer = [await bounded.open_session(user, 60) for _ in range(BOUND - 1)]
        assert await works(sessions, [oldest, closed, expired, *newer]) == [True, False, False, True, True]
        assert redis.zcard(sessions_key(user)) == BOUND

    run_with_sessions(redis_url, test)


def test_the_order_is_that_of_opening_even_if_the_clock_goes_back(redis_url: str, redis: PlainRedis) -> None:
    """A session that is opened after the clock of Redis was set back is still the newest."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        bounded = Accounts(accounts._redis, BOUND)
        await bounded.add_user(user, "UTC")
        first = await bounded.open_session(user, 60)
        redis.zincrby(sessions_key(user), 3_600_000_000, session_key(first))
        later = [await bounded.open_session(user, 60) for _ in range(BOUND)]
        assert await works(sessions, [first, *later]) == [False, True, True, True]

    run_with_sessions(redis_url, test)


def test_sessions_of_an_earlier_version_work_until_they_expire(redis_url: str, redis: PlainRedis) -> None:
    """Sessions that are in no list, as before the bound, stay valid beside as many as the bound."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        bounded = Accounts(accounts._redis, BOUND)
        await bounded.add_user(user, "UTC")
        born = redis.hget(user_key(user), "born") or b""
        fields = ["user", user, "born", born, "agent", "", "logged_in", "1"]
        redis.hset(session_key("of an earlier version"), items=fields)
        redis.expire(session_key("of an earlier version"), 60)
        ssids = [await bounded.open_session(user, 60) for _ in range(BOUND)]
        assert await works(sessions, ["of an earlier version", *ssids]) == [True] * (BOUND + 1)
        await bounded.close_session("of an earlier version")

    run_with_sessions(redis_url, test)


def test_an_audits_session_ends_none_of_the_users(redis_url: str, redis: PlainRedis) -> None:
    """It is not in the list, and is closed like any other."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        bounded = Accounts(accounts._redis, BOUND)
        await bounded.add_user(user, "UTC")
        ssids = [await bounded.open_session(user, 60) for _ in range(BOUND)]
        audits = await bounded.open_session(user, 60, bounded=False)
        assert await works(sessions, [audits, *ssids]) == [True] * (BOUND + 1)
        await bounded.close_session(audits)
        assert count_sessions(redis, user) == BOUND

    run_with_sessions(redis_url, test)


def test_the_list_lives_as_long_as_the_session_that_ends_last(redis_url: str, redis: PlainRedis) -> None:
    """A short session after a long one does not shorten the list's life."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        for ttl_s, longest_s in ((60, 60), (3_600, 3_600), (60, 3_600)):
            await accounts.open_session(user, ttl_s)
            assert longest_s - 5 < redis.ttl(sessions_key(user)) <= longest_s

    run_with_sessions(redis_url, test)


def test_workers_that_open_sessions_at_once_keep_the_bound(redis_url: str, redis: PlainRedis) -> None:
    """Eight clients of their own open 800 sessions at once: as many as the bound are left, in Redis and in the list.

    Each client has fewer connections than it opens sessions: those that find none free wait.
    """

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        clients = [Accounts(connect(redis_url), BOUND) for _ in range(8)]
        await asyncio.gather(*(client.open_session(user, 60) for _ in range(2 * POOL_MAX) for client in clients))
        assert (count_sessions(redis, user), redis.zcard(sessions_key(user))) == (BOUND, BOUND)
        newest = await clients[0].open_session(user, 60)
        assert await works(sessions, [newest]) == [True]
        for client in clients:
            await client.close()

    run_with_sessions(redis_url, test)


def test_a_removed_users_sessions_are_deleted(redis_url: str, redis: PlainRedis) -> None:
    """Nothing of the user is left in Redis, and no session can be opened any more."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        for _ in range(5):
            await accounts.open_session(user, 60)
        await accounts.remove_user(user)
        assert count_sessions(redis, user) == 0
        assert not redis.exists(sessions_key(user))

    run_with_sessions(redis_url, test)


def test_many_log_ins_with_one_token_leave_no_more_sessions_than_the_bound(
    deployment: Deployment, redis: PlainRedis
) -> None:
    """2,335 log-ins at two workers: 100 sessions are left, the newest is valid, and an older one is not."""
    user = deployment.name
    add_users(deployment, [user])
    body = json.dumps({"userId": user, "token": TOKEN}).encode()
    with Worker(deployment).wait_ready() as one, Worker(deployment).wait_ready() as other:
        oldest = one.request("POST", "/dashboard/login", body, JSON).headers["Set-Cookie"].partition(";")[0]
        asyncio.run(_log_in([one.port, other.port], body, LOG_INS))
        newest = other.request("POST", "/dashboard/login", body, JSON).headers["Set-Cookie"].partition(";")[0]
        assert count_sessions(redis, user) == deployment.loaded().sessions_per_user == 100

        # Each is asked of the worker that did not open it: the other one knows it for some seconds.
        for worker, cookie, is_open in ((one, newest, True), (other, oldest, False)):
            reply = worker.request("GET", "/dashboard/session", headers={"Cookie": cookie})
            assert (reply.json["message"] is not None) is is_open


def test_a_log_in_succeeds_also_if_others_end_its_session_before_the_answer(
    deployment: Deployment, redis: PlainRedis
) -> None:
    """Of 60 log-ins at once one session is left. The token of each is right, so that none may be told it is wrong."""
    deployment = deployment.with_settings(SESSIONS_PER_USER=1)
    add_users(deployment, [deployment.name])
    body = json.dumps({"userId": deployment.name, "token": TOKEN}).encode()
    with Worker(deployment).wait_ready() as worker:
        asyncio.run(_log_in([worker.port], body, 5 * AT_ONCE))
    assert count_sessions(redis, deployment.name) == 1


async def _log_in(ports: list[int], body: bytes, log_ins: int) -> None:
    """Log in so many times, AT_ONCE at a time, at the workers in turns. Each log-in must succeed."""
    left = iter(range(log_ins))
    async with aiohttp.ClientSession(headers=JSON, cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def some() -> None:
            for at in left:
                url = f"http://127.0.0.1:{ports[at % len(ports)]}/dashboard/login"
                async with client.post(url, data=body) as response:
                    assert response.status == 200, await response.text()

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
