"""Guessing a token: one guess after the other and many at a time, against a real Redis."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.known_networks import KnownNetworks
from streams.access.look_ups import LookUps
from streams.access.sessions import Sessions
from streams.access.store import connect
from streams.access.throttle import Throttle, ThrottledLogin
from streams.settings.table import Settings
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.replies import CREDENTIALS, assert_error
from tests.support.sessions import kept_in_redis
from tests.support.workers import Deployment, Reply, Worker

LIMIT = 5
GUESSES = 40


def test_parallel_guesses_learn_no_more_than_serial_ones(deployment: Deployment) -> None:
    """Of 40 guesses at once only as many as the limit are told wrong; the rest get 429."""
    add_users(deployment, ["guessed"])

    async def work() -> tuple[list[int], int]:
        look_ups = LookUps(connect(deployment.redis_url))
        sessions = Sessions(look_ups, Settings().session_cache_s)
        door = ThrottledLogin(sessions, Throttle(LIMIT), KnownNetworks(look_ups, ""))

        async def told(token: str) -> int:
            try:
                await door.authorize(Query(user_id="guessed", token=token), "10.0.0.1")
            except RequestRefused as refused:
                return refused.http_status
            return 200

        try:
            guesses = [told(f"guess-{at}") for at in range(GUESSES)]
            return list(await asyncio.gather(*guesses)), await told(TOKEN)
        finally:
            await sessions.close()

    guesses, right = asyncio.run(work())
    assert Counter(guesses) == {403: LIMIT, 429: GUESSES - LIMIT}
    assert right == 429


def test_guessing_gets_429_and_locks_nobody_out(deployment: Deployment) -> None:
    """After the limit an address and a user get 429; a client that was right before, and sessions elsewhere, go on."""
    add_users(deployment, ["u1", "u2"])
    with Worker(deployment.with_settings(THROTTLE_PER_MIN=3, PROXIES=1)).wait_ready() as worker:

        def ask(body: dict[str, str], address: str) -> Reply:
            # The client can choose the first address; the last one is the proxy's.
            return worker.ask(body, {"X-Forwarded-For": f"10.9.9.{ask.turn}, {address}"})  # type: ignore[attr-defined]

        ask.turn = 0  # type: ignore[attr-defined]
        assert ask(CREDENTIALS, "10.0.0.1").status == 200
        for _ in range(3):
            ask.turn += 1  # type: ignore[attr-defined]
            assert_error(ask({"userId": "u1", "token": "guess"}, "10.0.0.2"), 403, 1015, "Permission denied")
        for address in ("10.0.0.2", "10.0.0.3"):
            refused = ask({"userId": "u1", "token": "guess"}, address)
            assert_error(refused, 429, 1015, r"Permission denied: wrong too often, try again in \d+ s")
            assert 50 <= int(refused.headers["Retry-After"]) <= 60
        assert ask({"userId": "u2", "token": TOKEN}, "10.0.0.2").status == 429
        assert ask({"userId": "u2", "token": TOKEN}, "10.0.0.3").status == 200
        assert ask(CREDENTIALS, "10.0.0.2").status == 200
        assert ask({"ssid": open_session(deployment)}, "10.0.0.3").status == 200
        assert ask({"ssid": open_session(deployment)}, "10.0.0.4").status == 200
        for at in range(3):  # directly, without the proxy
            assert worker.ask({"userId": f"nobody{at}", "token": "guess"}).status == 403
        assert worker.ask({"userId": "nobody", "token": "guess"}, {"X-Forwarded-For": "127.0.0.1"}).status == 429


def test_strangers_cannot_lock_out_a_user_from_a_known_address(deployment: Deployment) -> None:
    """After a restart of the worker, 25 wrong tokens, from elsewhere and from the same address, refuse no right one.

    A right token and a right ssid are accepted from where the user was before, and throttled from elsewhere.
    """
    add_users(deployment, ["u1", "u2"])
    home, elsewhere = {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "198.51.100.9"}
    guess = {"userId": "u1", "token": "a wrong token of theirs"}
    here = deployment.with_settings(PROXIES=1)
    with Worker(here).wait_ready() as before:
        assert before.ask(CREDENTIALS, home).status == 200
    with Worker(here, replaces=before).wait_ready() as worker:
        strangers = [worker.ask(guess, {"X-Forwarded-For": f"203.0.113.{at}"}).status for at in range(25)]
        assert strangers == [403] * 20 + [429] * 5
        for at in range(25):
            worker.ask({"userId": f"nobody{at}", "token": "a wrong token of theirs"}, home)
        assert worker.ask(CREDENTIALS, elsewhere).status == 429
        assert worker.ask(guess, home).status == 429
        assert worker.ask({"userId": "u2", "token": TOKEN}, home).status == 429
        assert worker.ask(CREDENTIALS, home).status == 200
        assert worker.ask({"ssid": open_session(deployment)}, home).status == 200


def test_tokens_are_compared_in_constant_time(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """compare_digest compares hashes of equal length, for an unknown user as well, and no token is stored."""
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    async def ask() -> None:
        sessions = Sessions.connect(deployment.redis_url, Settings().session_cache_s)
        try:
            for user, token in (("u1", "a"), ("u1", "b" * 400), ("nobody", "c")):
                with pytest.raises(RequestRefused):
                    await sessions.authorize(_Given(user, token))
        finally:
            await sessions.close()

    add_users(deployment, ["u1"])
    monkeypatch.setattr("streams.access.store.hmac.compare_digest", compare)
    asyncio.run(ask())
    assert compared == [(64, 64), (64, 64), (64, 0)]
    assert TOKEN not in kept_in_redis(deployment.redis_url)


class _Given:
    """Credentials without a session."""

    ssid = None

    def __init__(self, user_id: str, token: str) -> None:
        self.user_id = user_id
        self.token = token
