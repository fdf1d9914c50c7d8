"""Administration of users, tokens and sessions, against a real Redis."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable

import pytest
from redis import Redis as PlainRedis

from ecounters.errors import Stop
from ecounters.query.request import Query
from streams.access import sessions as module
from streams.access.accounts import Accounts
from streams.access.sessions import Sessions
from streams.access.store import USERS_KEY, user_key
from tests.support.sessions import INDIA, Clock, refusal_code, run_with_sessions


def test_a_removed_users_sessions_and_token_stay_invalid(redis_url: str) -> None:
    """Neither sessions nor token of a removed user work for a new user of that name."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 60)
        assert await refusal_code(sessions, Query(ssid=ssid)) == 0
        await accounts.remove_user(user)
        clock.now += module.FRESH_S + 0.01
        assert await refusal_code(sessions, Query(ssid=ssid)) == 1015
        await accounts.add_user(user, "UTC")
        assert await refusal_code(sessions, Query(ssid=ssid)) == 1015
        assert await refusal_code(sessions, Query(user_id=user, token=token)) == 1015

    run_with_sessions(redis_url, test, clock)


def test_a_new_token_replaces_the_old_one(redis_url: str) -> None:
    """After `user token` only the new token is valid; zone and sessions of the user stay."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        old = await accounts.add_user(user, INDIA)
        ssid = await accounts.open_session(user, 60)
        new = await accounts.new_token(user)
        assert await refusal_code(sessions, Query(user_id=user, token=old)) == 1015
        assert (await sessions.authorize(Query(user_id=user, token=new))).zone.key == INDIA
        assert await refusal_code(sessions, Query(ssid=ssid)) == 0

    run_with_sessions(redis_url, test)


def test_another_zone_is_known_at_the_next_look_up(redis_url: str) -> None:
    """After `user zone` the days of the user are of the new zone; token and session stay valid."""
    clock = Clock()

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(user, "UTC")
        ssid = await accounts.open_session(user, 60)
        assert (await sessions.authorize(Query(ssid=ssid))).zone.key == "UTC"
        await accounts.set_zone(user, INDIA)
        clock.now += module.FRESH_S + 0.01
        for credentials in (Query(ssid=ssid), Query(user_id=user, token=token)):
            assert (await sessions.authorize(credentials)).zone.key == INDIA
        zone = await sessions.zone_of(user)
        assert zone is not None and zone.key == INDIA

    run_with_sessions(redis_url, test, clock)


def test_an_impossible_change_raises_stop_that_says_why(redis_url: str) -> None:
    """A user that exists or does not, or a bad name, zone, denial, token or lifetime raises Stop with one line."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        wrong: list[tuple[Awaitable[object], str]] = [
            (accounts.add_user(user, "UTC"), "there already"),
            (accounts.add_user("", "UTC"), "1 to 128"),
            (accounts.add_user("u" * 129, "UTC"), "1 to 128"),
            (accounts.add_user("a\nb", "UTC"), "printable"),
            (accounts.add_user(user + "2", "Mars"), "IANA"),
            (accounts.add_user(user + "2", "UTC", deny=("all",)), "denied"),
            (accounts.add_user(user + "2", "UTC", token=""), "16 to 512"),
            (accounts.new_token(user + "2"), "no user"),
            (accounts.set_zone(user + "2", "UTC"), "no user"),
            (accounts.set_zone(user, "Mars"), "IANA"),
            (accounts.remove_user(user + "2"), "no user"),
            (accounts.open_session(user + "2", 60), "no user"),
            (accounts.open_session(user, 0), "a second at least"),
        ]
        for attempt, words in wrong:
            with pytest.raises(Stop, match=words):
                await attempt
        assert user + "2" not in [found.user_id for found in await accounts.list_users()]

    run_with_sessions(redis_url, test)


def test_the_list_of_users_is_sorted_and_holds_no_secret(redis_url: str) -> None:
    """The list has id, zone and denials of each user, sorted by id, and no token."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user + "-b", INDIA, deny=("overallCount",))
        await accounts.add_user(user + "-a", "UTC")
        mine = [tuple(found) for found in await accounts.list_users() if found.user_id.startswith(user)]
        assert mine == [(user + "-a", "UTC", ()), (user + "-b", INDIA, ("overallCount",))]

    run_with_sessions(redis_url, test)


def test_concurrent_adds_of_one_user_give_one_token(redis_url: str) -> None:
    """Of eight that add one user at once, one gets a token, and that token is the user's."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        made = await asyncio.gather(*(accounts.add_user(user, "UTC") for _ in range(8)), return_exceptions=True)
        tokens = [one for one in made if isinstance(one, str)]
        assert len(tokens) == 1
        assert all(isinstance(one, Stop) for one in made if one not in tokens)
        assert await refusal_code(sessions, Query(user_id=user, token=tokens[0])) == 0

    run_with_sessions(redis_url, test)


@pytest.mark.parametrize("name", ["...", ".a", "a b", "a/../b", "+91 98", "अम", "<script>", "-x", "u" * 128, "%2e"])
def test_any_other_user_id_is_taken(redis_url: str, name: str) -> None:
    """What is no path of its own, is printable and has no white space at its ends."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        token = await accounts.add_user(name, "UTC")
        assert await refusal_code(sessions, Query(user_id=name, token=token)) == 0
        await accounts.remove_user(name)

    run_with_sessions(redis_url, test)


@pytest.mark.parametrize("name", ["..", " a", "a\nb"])
def test_a_user_with_an_id_that_is_refused_now_can_be_used_and_removed(redis_url: str, name: str) -> None:
    """Earlier versions took such ids; a short token of theirs is valid too, until it is replaced."""

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        with PlainRedis.from_url(redis_url) as redis:
            redis.rename(user_key(user), user_key(name))
            redis.srem(USERS_KEY, user)
            redis.sadd(USERS_KEY, name)
            hashed = hmac.new(b"salt", b"x", "sha256").hexdigest()
            redis.hset(user_key(name), items=["salt", "salt", "token", hashed])
        assert await refusal_code(sessions, Query(user_id=name, token="x")) == 0
        token = await accounts.new_token(name)
        assert await refusal_code(sessions, Query(user_id=name, token=token)) == 0
        assert await refusal_code(sessions, Query(ssid=await accounts.open_session(name, 60))) == 0
        assert name in [info.user_id for info in await accounts.list_users()]
        await accounts.remove_user(name)
        assert name not in [info.user_id for info in await accounts.list_users()]

    run_with_sessions(redis_url, test)
