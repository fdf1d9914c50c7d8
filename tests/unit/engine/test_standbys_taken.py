"""What becomes of a standby with which the restore of its partition begins, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP

from ecounters.changelog.entries import CALL, Entry, UnreadableEntries, read_call
from ecounters.partition.following import FollowedState
from ecounters.partition.state import PartitionState
from streams.app import build
from streams.engine import restore
from streams.engine.kept import KeptStates
from streams.engine.restore import PartitionChangelog
from streams.engine.standby import Standby
from streams.engine.standbys import Standbys, standbys_of
from streams.engine.status import MustWait
from streams.engine.table import StateTable
from streams.engine.view import GroupDirectory
from streams.kafka.clients import Kafka
from streams.kafka.group import Assignor
from streams.settings.table import Settings
from tests.support.builders import Feed, call
from tests.support.engine_fakes import LOG, PARTITION, PARTITIONS, USER, new_fixture


def entries() -> list[Entry]:
    """A flush with a live call."""
    return list(Feed(PARTITION, PARTITIONS).take(call("c1", USER).started()).state.take_changes())


class Takeover:
    """Takes a changelog over from nobody, which ends at an offset behind all entries. It is the writer too."""

    def __init__(self, *_: object) -> None:
        """Connects to no broker."""

    async def open(self) -> Takeover:
        """The writer, which nobody uses."""
        return self

    async def end_of_changelog(self) -> int:
        """The offset."""
        return 100

    async def settle_dead_letters(self, _: int) -> None:
        """There are none."""

    async def close(self) -> None:
        """Closes nothing."""


class Fetched:
    """What was fetched: these entries, at the offsets from ``begin`` on."""

    def __init__(self, entries: list[Entry], begin: int = 0) -> None:
        self._entries = entries
        self.next_offset = begin + len(entries)

    async def runs(self) -> AsyncGenerator[Iterator[list[Entry]]]:
        """One run, with all of them in one list."""
        yield iter([self._entries])


class Readers:
    """Reads a changelog that has these entries. ``answers``: whether the standby could answer when they were read.
    ``kafka``: who wants to read it from a broker finds none."""

    kafka = Kafka("nowhere:1")

    def __init__(self, changelog: Sequence[Entry]) -> None:
        self.changelog = list(changelog)
        self.standby: Standby | None = None
        self.answers = False

    async def read(self, *arguments: object) -> AsyncGenerator[list[Entry]]:
        """Yields all from the offset on, which the last argument is if there are four."""
        await asyncio.sleep(0)
        self.answers = self.standby is not None and self.standby.state is not None and not self.standby.lock.locked()
        yield self.changelog[int(str(arguments[3])) if len(arguments) > 3 else 0 :]

    async def read_again(self, *_: object) -> AsyncGenerator[list[tuple[int, bytes, bytes | None]]]:
        """Yields all with their offsets."""
        yield [(offset, *entry) for offset, entry in enumerate(self.changelog)]


class Taken:
    """A standby that has followed the first ``known`` entries of a changelog, and is to be taken over."""

    def __init__(self, changelog: Sequence[Entry], known: int) -> None:
        self.readers = Readers(changelog)
        self.context = replace(new_fixture().context, readers=self.readers)  # type: ignore[arg-type]
        self.standby = self.readers.standby = Standby(PARTITION, self.context)
        self.standbys, self.kept = Standbys(self.context), KeptStates(self.context)
        self.standbys._followed[PARTITION] = self.standby
        self.standbys.take(PARTITION)
        self.changelog = PartitionChangelog(PARTITION, self.context, self.standby)
        self._known = known

    async def follow(self) -> PartitionChangelog:
        """Follow, and return the changelog that is to be restored."""
        async with self.standby.lock:
            await self.standby.read(Fetched(self.readers.changelog[: self._known]))  # type: ignore[arg-type]
        self.standby.look(self._known, 1)
        return self.changelog

    async def cut_short(self, restore_s: float = 0.0, *, held: bool = True) -> None:
        """Begin the restore, and give the partition up after a while. ``held``: whether others may ask for it."""
        restoring = asyncio.create_task(self.changelog.restore())
        await asyncio.sleep(restore_s)
        restoring.cancel()
        await asyncio.wait([restoring])
        await self.changelog.close()
        self.standbys.give_up(PARTITION, self.kept if held else None)
        await asyncio.gather(*self.context.discards)


@pytest.fixture(autouse=True)
def takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker is needed."""
    monkeypatch.setattr(restore, "ChangelogTakeover", Takeover)


def test_a_takeover_that_is_cut_short_before_it_reads_leaves_the_standby_as_it_was() -> None:
    """Nobody else has a state of the partition yet: until its next owner has one, there was no answer."""

    async def run() -> None:
        taken = Taken(entries(), len(entries()))
        await taken.follow()
        assert taken.standbys.positions() == {PARTITION: 1}
        async with taken.standby.lock:  # a fetch is being applied
            await taken.cut_short()
        assert taken.standbys.get(PARTITION) is taken.standby
        assert taken.standbys.whole() == [PARTITION]
        taken.standbys.answered(PARTITION)
        assert (taken.standbys.get(PARTITION), taken.standbys.positions()) == (None, {})

    asyncio.run(run())


def ended() -> list[Entry]:
    """The flush after ``entries``: the call has ended."""
    feed = Feed(PARTITION, PARTITIONS).take(call("c1", USER).started())
    list(feed.state.take_changes())
    return list(feed.take(call("c1", USER).ended(9)).state.take_changes())


def test_what_is_read_after_a_takeover_that_was_cut_short_is_there_at_the_next_one() -> None:
    """What waited at the first takeover was applied once more at the second, and what waited then was lost."""

    async def run() -> None:
        first, log = len(entries()), entries() + ended()
        taken = Taken(log, first)
        await taken.follow()
        standby = taken.standby
        for begin, end in ((first, first + 1), (first + 1, len(log))):
            async with standby.lock:
                await standby.read(Fetched(log[begin:end], begin))  # type: ignore[arg-type]
                assert standby.hand_out() is not None
        await standby.end()
        assert standby.state is not None and standby.state.users[USER].calls["c1"].end
        assert standby.entries == len(log)

    asyncio.run(run())


def test_nobody_is_answered_while_a_takeover_reads_once_more_what_it_has_applied() -> None:
    """Cells of an older flush were among those of a newer one: calls counted twice."""

    async def run() -> None:
        taken = Taken(entries() + ended(), len(entries()))
        await taken.follow()
        standby = taken.standby
        for answers in (True, False):
            async with standby.lock:
                assert standby.hand_out() is not None
            assert (standby.state is not None) == answers
            await standby.take_in(ended())
        await standby.end()
        assert standby.entries == len(entries() + ended())

    asyncio.run(run())


@pytest.mark.parametrize("held", [True, False])
def test_a_takeover_that_is_cut_short_after_it_has_read_all_keeps_the_state_to_answer_from(held: bool) -> None:
    """If others may ask for it. Else it is discarded: a state that is only dropped stays in memory for ever."""

    async def run() -> None:
        taken = Taken(entries() * 2, len(entries()))
        await taken.follow()
        state = taken.standby.state
        assert state is not None
        async with taken.context.restore_lock:  # other partitions are being restored
            await taken.cut_short(0.05, held=held)
        kept = taken.kept.get(PARTITION)
        assert taken.standbys.get(PARTITION) is None
        assert (kept and kept.state, bool(state.users)) == ((state, True) if held else (None, False))

    asyncio.run(run())


def test_a_takeover_that_is_cut_short_while_it_reads_discards_the_state() -> None:
    """It may have half of a flush."""

    async def run() -> None:
        taken = Taken(entries() * 2, len(entries()))
        await taken.follow()
        state = taken.standby.state
        assert state is not None
        await taken.context.slices.begin()  # other work has the slice
        restoring = asyncio.create_task(taken.cut_short(0.05))
        await asyncio.wait([restoring], timeout=0.1)
        taken.context.slices.end(0.0)
        await restoring
        assert (taken.kept.get(PARTITION), taken.standbys.get(PARTITION), len(state.users)) == (None, None, 0)

    asyncio.run(run())


async def no_zone(user_id: str) -> None:
    """No user has a zone."""


def table_of(taken: Taken) -> StateTable:
    """A worker's table, which has the standby."""
    table = build(Settings(advertise="127.0.0.1:1"), LOG).table
    table.configure(replace(taken.context, settings=replace(taken.context.settings, standbys=1)), no_zone)
    table.standbys._followed[PARTITION] = taken.standby
    return table


def test_a_partition_that_moves_before_it_was_taken_over_is_answered_for() -> None:
    """Its owner dies, and another worker starts right then: the dead one has no state, and the new one none yet. Until
    that one says that it answers, this worker does."""

    async def run() -> None:
        taken, tp = Taken(entries(), len(entries())), TP("events", PARTITION)
        table = table_of(taken)
        await taken.follow()
        assignor, url = cast(Assignor, table.app.assignor), "http://127.0.0.1:1"
        assignor.members, assignor.addresses = {url, "http://next"}, {PARTITION: url}
        async with taken.standby.lock:  # so the restore does not begin
            await table.on_rebalance({tp}, set(), set(), 2)
            assert (table.states(), table.held()) == ({PARTITION: 1}, {})
            assignor.members, assignor.addresses = {url, "http://next", "http://third0"}, {PARTITION: "http://next"}
            assert standbys_of(PARTITION, "http://next", assignor.members, 1) == ["http://third0"]
            assignor.holders = {PARTITION: [url]}
            await table.on_rebalance(set(), set(), set(), 3)
        assert table.standbys.whole() == [PARTITION]
        assert table.standbys.wanted == len({PARTITION, *table.standbys._wanted})
        assert table.hand_over(PARTITION, 1, 3, "http://next") == 0
        assert (table.standbys.get(PARTITION), table.states()) == (None, {})
        await table.standbys.stop()

    asyncio.run(run())


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("amid", [True, False])
def test_a_partition_that_moves_on_is_not_answered_for_with_an_emptied_state(
    monkeypatch: pytest.MonkeyPatch, amid: bool, held: bool
) -> None:
    """While its changelog was being closed, the standby still had the state: replies without calls.

    ``amid``: its restore ends once the rebalance has begun.
    """

    async def run() -> None:
        taken, tp = Taken(entries(), len(entries())), TP("events", PARTITION)
        table, lock, standby = table_of(taken), taken.context.restore_lock, taken.standby
        await taken.follow()
        state, shown = standby.state, list[PartitionState | None]()
        assert state is not None

        async def close(_: Takeover) -> None:
            await asyncio.gather(*taken.context.discards)
            shown.append(standby.state if table.standbys.get(PARTITION) is standby else None)

        monkeypatch.setattr(Takeover, "close", close)
        async with lock:  # other partitions are being restored
            await table.on_rebalance({tp}, set(), set(), 2)
            while not standby._is_at_end:  # noqa: ASYNC110 - the restore waits for the lock then
                await asyncio.sleep(0)
        while not amid and standby.can_follow:  # noqa: ASYNC110 - until it has ended
            await asyncio.sleep(0)
        cast(Assignor, table.app.assignor).holders = {PARTITION: ["http://127.0.0.1:1"]} if held else {}
        await table.on_rebalance(set(), set(), set(), 3)
        kept = table.kept.get(PARTITION)
        assert shown == [None]
        assert (kept and kept.state, bool(state.users)) == ((state, True) if held else (None, False))
        await table.standbys.stop()

    asyncio.run(run())


def test_who_asks_asks_those_that_were_standbys_too() -> None:
    """They answer while the next owner has no state yet."""
    taken = Taken(entries(), len(entries()))
    table = table_of(taken)
    del table.standbys._followed[PARTITION]
    assignor = cast(Assignor, table.app.assignor)
    assignor.members = {"http://a", "http://b", "http://c", "http://127.0.0.1:1"}
    (standby,) = standbys_of(PARTITION, "http://a", assignor.members - {"http://127.0.0.1:1"}, 1)
    other = ({"http://b", "http://c"} - {standby}).pop()
    assignor.addresses, assignor.holders = {PARTITION: "http://a"}, {PARTITION: [other]}
    directory = GroupDirectory(cast(Any, table.app), table, PARTITIONS, taken.context.topics)
    asked = directory.standbys_for(USER)
    assert {other, "http://a"} <= set(asked)
    assert asked[-1] == "http://a"


def test_a_call_that_cannot_be_counted_makes_the_partition_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restore of all: the error that says so ended the worker, and then the next one that took over."""

    def damaged(entry: Entry) -> Entry:
        key, value = entry
        if key[:1] != CALL or value is None:
            return entry
        return key, msgspec.msgpack.encode(read_call(key, value)[2]._replace(ivrs=(1,)))

    def finishing(_: FollowedState) -> Iterator[None]:
        raise UnreadableEntries({key: "it cannot be counted" for key, _ in entries()})

    async def run() -> None:
        taken = Taken(entries(), len(entries()))
        changelog = await taken.follow()
        taken.readers.changelog = [damaged(entry) for entry in entries()]
        monkeypatch.setattr(FollowedState, "finishing", finishing)
        with pytest.raises(MustWait, match="call"):
            await changelog.restore()

    asyncio.run(run())


def test_a_standby_answers_while_the_rest_is_read() -> None:
    """A broker may take long to send it."""

    async def run() -> bool:
        taken = Taken(entries() * 2, len(entries()))
        await (await taken.follow()).restore()
        return taken.readers.answers

    assert asyncio.run(run())
