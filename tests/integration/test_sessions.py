"""Who may ask: sessions and tokens, against a real Redis."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
from redis import Redis as PlainRedis

from ecounters.errors import Stop
from ecounters.query.request import Query
from streams.access import sessions as module
from streams.access.accounts import Accounts
from streams.access.sessions import Account, Sessions
from streams.basics.times import zone_named
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.sessions import INDIA, Clock, kept_in_redis, refusal, refusal_code, run_with_sessions
from tests.support.workers import Deployment, Worker


def test_a_token_a_session_or_both_authorize(redis_url: str) -> None:
    """A token authorizes its user, and so does a session, by itself or together with the token."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, INDIA)
        ssid = await accounts.open_session(user, 60)
        account = Account(user, zone_named(INDIA))
        assert await sessions.authorize(Query(user_id=user, token=token)) == account
        assert await sessions.authorize(Query(ssid=ssid)) == account
        assert await sessions.authorize(Query(ssid=ssid, user_id=user, token=token)) == account

    run_with_sessions(redis_url, test)


def test_every_denial_has_the_same_words(redis_url: str) -> None:
    """No refusal shows which of the credentials was wrong."""

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

    run_with_sessions(redis_url, test)


def test_a_request_without_credentials_gets_1002(redis_url: str) -> None:
    """A request without ssid and userId is refused with 1002."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        assert await refusal_code(sessions, Query()) == 1002
        assert await refusal_code(sessions, Query(token="t")) == 1002

    run_with_sessions(redis_url, test)


def test_a_logged_out_agent_gets_1043(redis_url: str) -> None:
    """The session of a logged-out agent gets 1043, but 1015 if the credentials are wrong as well."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        working = await accounts.open_session(user, 60, "Asha")
        away = await accounts.open_session(user, 60, "Ravi", logged_in=False)
        assert await refusal_code(sessions, Query(ssid=working)) == 0
        assert await refusal_code(sessions, Query(ssid=away)) == 1043
        assert await refusal_code(sessions, Query(ssid=away, user_id=user, token="wrong")) == 1015
        with pytest.raises(Stop, match="--agent"):
            await accounts.open_session(user, 60, logged_in=False)

    run_with_sessions(redis_url, test)


def test_a_closed_session_is_refused_after_fresh_s(redis_url: str) -> None:
    """A worker that knows a session asks Redis again after FRESH_S seconds, and refuses it then."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 60)
        assert await refusal_code(sessions, Query(ssid=ssid)) == 0
        await accounts.close_session(ssid)
        clock.now += module.FRESH_S + 0.01
        assert await refusal_code(sessions, Query(ssid=ssid)) == 1015
        with pytest.raises(Stop, match="no such session"):
            await accounts.close_session(ssid)

    run_with_sessions(redis_url, test, clock)


def test_a_session_expires_in_cache_and_redis(redis_url: str) -> None:
    """The cache holds a session no longer than its time to live in Redis."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 1)
        assert await refusal_code(sessions, Query(ssid=ssid)) == 0
        key = "ecounters:session:" + hashlib.sha256(ssid.encode()).hexdigest()
        with PlainRedis.from_url(redis_url) as redis:
            assert 0 < redis.pttl(key) <= 1000
        await accounts.close_session(ssid)
        clock.now += 1.1  # less than FRESH_S, so that Redis is not asked
        assert await refusal_code(sessions, Query(ssid=ssid)) == 1015

    run_with_sessions(redis_url, test, clock)


def test_no_secret_is_stored_in_clear(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither ssid nor token is in Redis, in the cache or in the log, and equal tokens have different hashes."""
    caplog.set_level(logging.DEBUG)
    kept: list[str] = []

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        await accounts.add_user(user + "2", "UTC", token=token)
        ssid = await accounts.open_session(user, 60)
        await sessions.authorize(Query(ssid=ssid, user_id=user, token=token))
        await refusal_code(sessions, Query(user_id=user, token=token + "wrong"))
        kept.extend([kept_in_redis(redis_url), repr(sessions._cache), caplog.text])
        with PlainRedis.from_url(redis_url) as redis:
            users = [redis.hgetall(f"ecounters:user:{one}") for one in (user, user + "2")]
        assert users[0][b"token"] != users[1][b"token"]
        assert user in kept[0]
        assert all(secret not in text for secret in (ssid, token) for text in kept)

    run_with_sessions(redis_url, test)


def test_zone_of_is_the_accounts_zone_or_none(redis_url: str) -> None:
    """zone_of gives the account's zone, or None without an account."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, INDIA)
        assert await sessions.zone_of(user) == zone_named(INDIA)
        assert await sessions.zone_of(user + "2") is None

    run_with_sessions(redis_url, test)


def test_the_cache_of_sessions_is_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently confirmed sessions are dropped first, and refusals are not cached."""
    monkeypatch.setattr(module, "CACHED_MAX", 3)

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        for _ in range(5):
            await sessions.authorize(Query(ssid=await accounts.open_session(user, 60)))
            await refusal_code(sessions, Query(ssid="wrong"))
        assert len(sessions._cache) == 3

    run_with_sessions(redis_url, test)


def test_no_secret_is_in_a_workers_log_or_arguments(deployment: Deployment) -> None:
    """At DEBUG, with right and wrong tokens and ssids in bodies, cookies and the URL of a stream."""
    add_users(deployment, ["u1"])
    ssid, wrong = open_session(deployment), "a-wrong-secret-of-theirs"
    with Worker(deployment.with_settings(LOG_LEVEL="DEBUG", SECRET="a-secret-of-the-workers")).wait_ready() as worker:
        for token in (TOKEN, wrong):
            worker.ask({"userId": "u1", "token": token})
            worker.request(
                "POST", "/dashboard/login", {"userId": "u1", "token": token}, {"Content-Type": "application/json"}
            )
        for one in (ssid, wrong):
            worker.ask({"ssid": one})
            worker.request("GET", "/dashboard/session", headers={"Cookie": f"ecounters={one}"})
            worker.request("GET", f"/api/v2/overallCount/stream?ssid={one}&filter=no")
        arguments = Path(f"/proc/{worker.process.pid}/cmdline")
        said = worker.log.read_text() + (arguments.read_text() if arguments.exists() else "")
        assert "DEBUG" in said
        assert not [secret for secret in (TOKEN, ssid, wrong, "a-secret-of-the-workers") if secret in said]
