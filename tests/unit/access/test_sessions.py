"""How long credentials are cached, with a store that a test changes and takes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.look_ups import Command, Crowded, LookUps, Unreachable
from streams.access.sessions import FRESH_S, Account, Sessions
from streams.access.store import encode, token_fields, user_key
from streams.basics.times import zone_named

CACHE_S = 60.0
TOKEN = "a token of user u1"
GOOD = Query(user_id="u1", token=TOKEN)


class Store:
    """Look-ups of a Redis with one user. ``failure``: every look-up ends with it. ``look_ups``: how many there were."""

    def __init__(self) -> None:
        self.user = {"zone": "Asia/Kolkata", "born": "b", "deny": "", **token_fields(TOKEN)}
        self.failure: type[Exception] | None = None
        self.look_ups = 0

    async def ask(self, *commands: Command) -> list[Any]:
        """The user's hash, or nothing."""
        self.look_ups += 1
        if self.failure is not None:
            raise self.failure
        fields = self.user if commands == (("HGETALL", user_key("u1")),) else {}
        return [{encode(name): encode(value) for name, value in fields.items()}]


class Case:
    """Sessions on a store, with a clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.store = Store()
        self.sessions = Sessions(cast(LookUps, self.store), CACHE_S, lambda: self.now)

    async def code(self, query: Query = GOOD) -> int:
        """The code that a query is refused with; 0: it is authorized."""
        try:
            account = await self.sessions.authorize(query)
        except RequestRefused as refused:
            return refused.code
        assert account == Account("u1", zone_named("Asia/Kolkata"))
        return 0


def run(test: Callable[[Case], Awaitable[None]]) -> None:
    """Run a test on a case of its own."""

    async def work() -> None:
        await test(Case())

    asyncio.run(work())


def test_good_credentials_are_looked_up_again_when_they_are_not_fresh() -> None:
    """Within FRESH_S once; then again, and what has become wrong is refused and no longer known."""

    async def test(case: Case) -> None:
        assert [await case.code(), await case.code()] == [0, 0]
        assert (case.store.look_ups, case.sessions.knows(GOOD)) == (1, True)
        case.now += FRESH_S
        assert await case.code() == 0
        assert case.store.look_ups == 2
        case.now += FRESH_S
        case.store.user |= token_fields("another token of u1")
        assert await case.code() == 1015
        assert not case.sessions.knows(GOOD)

    run(test)


@pytest.mark.parametrize("failure", [Unreachable, Crowded])
def test_known_credentials_are_good_for_a_while_without_redis(failure: type[Exception]) -> None:
    """For CACHE_S after the last look-up that confirmed them; unknown ones are 1010."""

    async def test(case: Case) -> None:
        assert await case.code() == 0
        case.store.failure = failure
        case.now += CACHE_S - 1
        assert await case.code() == 0
        assert await case.code(Query(user_id="u2", token="t")) == 1010
        assert await case.sessions.zone_of("u1") is None
        case.now += 1
        assert await case.code() == 1010

    run(test)


@pytest.mark.parametrize(("failure", "words"), [(Unreachable, "cannot be reached"), (Crowded, "too many requests")])
def test_a_refusal_says_whether_redis_cannot_be_reached(failure: type[Exception], words: str) -> None:
    """1010 in both cases; only the text of Unreachable says that Redis cannot be reached."""

    async def test(case: Case) -> None:
        case.store.failure = failure
        with pytest.raises(RequestRefused, match=words) as refused:
            await case.sessions.authorize(GOOD)
        assert (refused.value.code, refused.value.http_status) == (1010, 503)

    run(test)


def test_a_denied_user_and_nobody_are_told_the_same() -> None:
    """1015 for both; 1002 where nobody is named, without a look-up."""

    async def test(case: Case) -> None:
        case.store.user["deny"] = "overallCount"
        assert await case.code() == 1015
        assert await case.code(Query(user_id="nobody", token=TOKEN)) == 1015
        looked = case.store.look_ups
        assert await case.code(Query(token=TOKEN)) == 1002
        assert case.store.look_ups == looked

    run(test)


@pytest.mark.parametrize(("user_id", "zone"), [("u1", "Asia/Kolkata"), ("u2", None)])
def test_a_zone_is_that_of_the_account(user_id: str, zone: str | None) -> None:
    """None where there is no account."""

    async def test(case: Case) -> None:
        assert await case.sessions.zone_of(user_id) == (zone and zone_named(zone))

    run(test)
