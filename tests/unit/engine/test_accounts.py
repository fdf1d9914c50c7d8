"""The metrics of single accounts: which accounts have some, and when their counters fall."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from ecounters.events.partitioner import partition_of
from streams.app import build
from streams.basics.slices import TimeSlices
from streams.engine import accounts as module
from streams.engine.accounts import AccountLooks
from streams.engine.view import GroupDirectory
from streams.metrics.accounts import CAP, NO_ZONE
from streams.settings.narrow import AccountSettings
from streams.settings.table import Settings
from tests.support.builders import call, event, ms
from tests.support.engine_fakes import LOG, PARTITION, PARTITIONS, WAIT_S, PartitionFixture, batch, on_live

KEEP_MS = 400 * 86_400_000
USERS = [user for user in map("u{}".format, range(100)) if partition_of(user, PARTITIONS) == PARTITION][:3]
ONE, TWO, THREE = USERS


class Looks:
    """The looks at the accounts of a fixture's partition. ``zones``: user -> time zone; None: Redis does not tell.

    ``replies``: cleared, Redis does not reply.
    """

    def __init__(self, fixture: PartitionFixture, settings: AccountSettings) -> None:
        worker = build(Settings(advertise="127.0.0.1:1"), LOG)
        self.table = worker.table
        self.table.owned[PARTITION] = fixture.partition
        self.series = fixture.metrics.accounts
        self.zones: dict[str, ZoneInfo | None] = dict.fromkeys(USERS, ZoneInfo("UTC"))
        directory = GroupDirectory(cast(Any, self.table.app), self.table, PARTITIONS, fixture.context.topics)
        self._looks = AccountLooks(settings, self.table, directory, self._zone_of, TimeSlices(10), self.series)
        self._fixture = fixture
        self.replies = asyncio.Event()
        self.replies.set()

    async def _zone_of(self, user: str) -> ZoneInfo | None:
        await self.replies.wait()
        return self.zones[user]

    async def show(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Metric -> its labels' values -> value, after a look."""
        await self._fixture.until(lambda: self._fixture.partition.status.answering)
        await self._looks.collect()
        shown: dict[str, dict[tuple[str, ...], float]] = {}
        for metric in self.series.collect():
            rows = {tuple(sample.labels.values()): sample.value for sample in metric.samples}
            shown[metric.name.removeprefix("ecounters_account_")] = rows
        return shown

    def left_out(self, reason: str) -> float:
        """How many accounts have no series."""
        return float(self.series._left_out.labels(reason)._value.get())


def named(*names: str) -> AccountSettings:
    """These accounts have metrics."""
    return AccountSettings(names, False, 0, KEEP_MS)


def calls(user: str, number: int, begin: int = 0) -> list[dict[str, Any]]:
    """Events of so many missed calls."""
    scripts = (call(f"{user}-{at}", user).started(1).ringing(2).ended(3) for at in range(begin, begin + number))
    return [one for script in scripts for one in script.events]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time of day of the looks, in s of the test; 60 at first."""

    def set_to(at: float) -> None:
        monkeypatch.setattr(module, "now_ms", lambda: ms(at))

    set_to(60)
    return set_to


async def take(fixture: PartitionFixture, events: Iterable[dict[str, Any]]) -> None:
    """Count events."""
    await fixture.partition.apply_batch(batch(fixture.state.position, events))


def test_only_named_accounts_have_series() -> None:
    """Not one that is not named, and not one of which nothing was counted. Those that are named have zeros."""

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, named(ONE, THREE))
        await take(fixture, [*calls(ONE, 2), *calls(TWO, 1)])
        shown = await looks.show()
        assert (shown["calls"], shown["answered_calls"]) == ({(ONE,): 2}, {(ONE,): 0})
        assert shown["retried_calls"] == {(ONE, how): 0 for how in ("missed", "partly", "answered", "ghost")}
        assert shown["live_calls_by_type"] == {(ONE, "CTC"): 0}

    on_live(work)


def test_a_counter_falls_at_midnight_alone(clock: Callable[[float], None]) -> None:
    """Not by a correction, which calls make up for, and not by a restore; then the new day begins with its calls."""

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, named(ONE))
        await take(fixture, calls(ONE, 3))
        assert (await looks.show())["missed_calls"] == {(ONE,): 3}
        await take(fixture, [event("leg.answered", 2.5, ONE, callId=f"{ONE}-0")])
        shown = await looks.show()
        assert (shown["missed_calls"], shown["answered_calls"]) == ({(ONE,): 3}, {(ONE,): 1})
        await take(fixture, calls(ONE, 2, begin=3))
        assert (await looks.show())["missed_calls"] == {(ONE,): 4}
        clock(86_400)
        assert (await looks.show())["missed_calls"] == {(ONE,): 0}

    on_live(work)


def test_an_erased_account_has_no_series_and_begins_anew() -> None:
    """Also if it is counted again before the next look, and while a look takes long."""

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, named(ONE, TWO))
        await take(fixture, [*calls(ONE, 3), *calls(TWO, 3)])
        assert (await looks.show())["calls"] == {(ONE,): 3, (TWO,): 3}
        await take(fixture, [event("account.erased", 5, ONE), event("account.erased", 5, TWO)])
        await take(fixture, [*calls(TWO, 1, begin=7)])
        shown = await looks.show()
        assert shown["calls"] == {(TWO,): 1}
        assert {account for rows in shown.values() for account, *_ in rows} == {TWO}

    on_live(work)


def test_only_the_owner_that_answers_has_series() -> None:
    """Not while another worker answers still, and not once the partition was given up."""

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, AccountSettings((), True, 10, KEEP_MS))
        await take(fixture, calls(ONE, 1))
        assert (await looks.show())["calls"] == {(ONE,): 1}
        fixture.partition.status.answering = False
        await looks._looks.collect()
        assert [metric.samples for metric in looks.series.collect() if metric.samples] == []
        fixture.partition.status.answering = True
        assert (await looks.show())["calls"] == {(ONE,): 1}
        del looks.table.owned[PARTITION]
        assert (await looks.show())["calls"] == {}

    on_live(work)


def test_of_all_accounts_so_many_have_series_and_keep_them() -> None:
    """First those with the most calls; one that has series keeps them. The others are counted."""

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, AccountSettings((), True, 2, KEEP_MS))
        await take(fixture, [*calls(ONE, 1), *calls(TWO, 3), *calls(THREE, 2)])
        assert (await looks.show())["calls"] == {(TWO,): 3, (THREE,): 2}
        await take(fixture, calls(ONE, 9, begin=1))
        assert (await looks.show())["calls"] == {(TWO,): 3, (THREE,): 2}
        assert looks.left_out(CAP) == 1
        await take(fixture, [event("account.erased", 5, TWO)])
        assert (await looks.show())["calls"] == {(ONE,): 10, (THREE,): 2}
        assert looks.left_out(CAP) == 0

    on_live(work)


def test_an_account_without_a_time_zone_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its day is not known. One that was known is used while Redis is away."""
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(module, "ZONE_S", 0.0)

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, named(ONE, TWO))
        await take(fixture, [*calls(ONE, 1), *calls(TWO, 1)])
        looks.zones[ONE] = None
        assert (await looks.show())["calls"] == {(TWO,): 1}
        assert looks.left_out(NO_ZONE) == 1
        looks.zones = {ONE: ZoneInfo("UTC"), TWO: None}
        assert (await looks.show())["calls"] == {(ONE,): 1, (TWO,): 1}
        assert looks.left_out(NO_ZONE) == 0

    on_live(work)


def test_a_look_that_takes_long_shows_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without accounts that were erased meanwhile; and the next look at the metrics waits for the same."""
    monkeypatch.setattr(module, "LOOK_LIMIT_S", 0.1)
    monkeypatch.setattr(module, "ZONE_S", 0.0)

    async def work(fixture: PartitionFixture) -> None:
        looks = Looks(fixture, named(ONE, TWO))
        await take(fixture, [*calls(ONE, 1), *calls(TWO, 1)])
        assert (await looks.show())["calls"] == {(ONE,): 1, (TWO,): 1}
        await take(fixture, [event("account.erased", 5, ONE), *calls(TWO, 1, begin=1)])
        looks.replies.clear()
        async with asyncio.timeout(WAIT_S):
            assert (await looks.show())["calls"] == {(TWO,): 1}
        looks.replies.set()
        assert (await looks.show())["calls"] == {(TWO,): 2}

    on_live(work)
