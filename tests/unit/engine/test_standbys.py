"""Who is a standby, and what becomes of one that cannot follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiokafka.errors import CorruptRecordException

from ecounters.changelog.binding import Binding
from ecounters.changelog.entries import FORMAT, Entry, UnreadableEntries, position_entry
from ecounters.changelog.saved import Position
from streams.engine import restore
from streams.engine import standby as module
from streams.engine import standbys as standbys_module
from streams.engine.restore import PartitionChangelog
from streams.engine.standby import CannotFollow, Standby
from streams.engine.standbys import Standbys, standbys_of
from streams.engine.status import MustWait
from tests.support.engine_fakes import BINDING, LOG, PARTITION, PARTITIONS, WAIT_S, new_fixture

MEMBERS = ["http://a", "http://b", "http://c", "http://d"]


def test_all_workers_compute_the_same_standbys() -> None:
    """In any order of the members; never the owner; as many as there are."""
    for partition in range(64):
        found = standbys_of(partition, "http://a", MEMBERS, 2)
        assert found == standbys_of(partition, "http://a", MEMBERS[::-1], 2)
        assert len(set(found)) == 2
        assert "http://a" not in found
    assert len(standbys_of(0, "http://a", MEMBERS, 9)) == 3
    assert standbys_of(0, "http://a", ["http://a"], 1) == []
    assert {standbys_of(partition, None, MEMBERS, 1)[0] for partition in range(64)} == set(MEMBERS)


def test_a_worker_that_leaves_changes_no_standby_but_its_own() -> None:
    """A standby of a partition whose owner dies stays its standby: it answers until another worker has restored it."""
    for partition in range(64):
        before = standbys_of(partition, "http://a", MEMBERS, 1)
        for new_owner in set(MEMBERS) - {"http://a", *before}:
            assert standbys_of(partition, new_owner, MEMBERS[1:], 1) == before


class FakeFetched:
    """What was fetched of a partition: these entries, up to the offset ``next_offset``."""

    def __init__(self, entries: list[Entry], next_offset: int) -> None:
        self._entries = entries
        self.next_offset = next_offset

    async def runs(self) -> AsyncGenerator[Iterator[list[Entry]]]:
        """One run, with a list for each entry."""
        yield ([entry] for entry in self._entries)


def position(offset: int, binding: Binding | None = BINDING) -> Entry:
    """The last entry of a flush."""
    return position_entry(Position(FORMAT, offset, 0, 0, binding))


def follow(*fetches: tuple[list[Entry], int, int]) -> list[int | None]:
    """Let a standby read (entries, next offset, end of the changelog) in turn; the position of its state after each."""

    async def run() -> list[int | None]:
        standby, found = Standby(PARTITION, new_fixture().context), list[int | None]()
        for entries, next_offset, end in fetches:
            async with standby.lock:
                await standby.read(FakeFetched(entries, next_offset))  # type: ignore[arg-type]
            standby.look(end, 1)
            found.append(standby.state.position if standby.state is not None else None)
        return found

    return asyncio.run(run())


def test_a_flush_counts_only_when_it_is_whole() -> None:
    """Before all was read once there is no state; then that of the last flush whose position has come."""
    number = (b"n" + msgspec.msgpack.encode(("u1", "1555")), msgspec.msgpack.encode(1))
    assert follow(
        ([position(5)], 1, 4), ([number], 2, 4), ([position(7)], 4, 4), ([number], 5, 8), ([number], 6, 6),
        ([position(9)], 8, 8),
    ) == [None, None, 7, 7, 7, 9]  # fmt: skip


def test_a_changelog_of_another_topic_or_with_foreign_entries_is_not_followed() -> None:
    """A foreign entry that is taken out again does no harm."""
    other = Binding(msgspec.structs.replace(LOG, topic="other"), "1.0")
    with pytest.raises(CannotFollow, match="the saved state is of topic other"):
        follow(([position(5, other)], 1, 1))
    with pytest.raises(UnreadableEntries, match="this version does not know its kind"):
        follow(([(b"x", b"y"), position(5)], 2, 2))
    with pytest.raises(UnreadableEntries, match="there are entries, but no position"):
        follow(([position(5), (b"p", None), (b"u", None)], 3, 3), ([position(5), (b"p", None)], 5, 5))
    assert follow(([(b"x", b"y"), (b"x", None), position(5)], 3, 3)) == [5]


def test_who_was_not_at_the_end_for_long_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka takes tombstones away after an hour: what they removed would stay."""
    monkeypatch.setattr(module, "CHANGELOG_STALE_MS", -1)
    with pytest.raises(CannotFollow, match="not been at the end"):
        follow(([position(5)], 1, 1))


class FakeWriter:
    """A writer without dead letters."""

    async def settle_dead_letters(self, position: int) -> None:
        """There are none."""


class FakeTakeover:
    """A takeover of a changelog that ends at the offset ``end``."""

    end = 0

    def __init__(self, *_: object) -> None:
        """Takes nothing over."""

    async def open(self) -> FakeWriter:
        """A new writer."""
        return FakeWriter()

    async def end_of_changelog(self) -> int:
        """``end``."""
        return self.end

    async def close(self) -> None:
        """Closes nothing."""


class FakeReaders:
    """Reads a changelog of these entries, so many with each fetch, and notes from which offsets it was read.

    ``looks``: what ``look`` returns after each fetch. ``failures``: an error for each fetch after which it fails.
    """

    def __init__(self, entries: list[Entry], fetch: int = 100, look: Callable[[], object] = lambda: None) -> None:
        self.entries = entries
        self.failures: list[Exception] = []
        self.begins: list[int] = []
        self.looks: list[object] = []
        self._fetch = fetch
        self._look = look

    async def read(self, *args: Any) -> AsyncGenerator[list[Entry]]:
        """Yields the entries from an offset on."""
        self.begins.append(args[3] if len(args) > 3 else 0)
        for begin in range(self.begins[-1], len(self.entries), self._fetch):
            yield self.entries[begin : begin + self._fetch]
            yield []
            self.looks.append(self._look())
            if self.failures:
                raise self.failures.pop(0)

    async def read_again(self, *_: object) -> AsyncGenerator[list[tuple[int, Any, Any]]]:
        """Yields all entries with their offsets."""
        yield [(offset, *entry) for offset, entry in enumerate(self.entries)]


NUMBER = (b"n" + msgspec.msgpack.encode(("u1", "1555")), msgspec.msgpack.encode(1))


@pytest.mark.parametrize(
    ("what", "entries", "end", "begins", "read"),
    [
        ("only the rest is read", [position(5), NUMBER, position(7)], 3, [2], 1),
        ("there is no rest", [position(5), NUMBER], 2, [2], 0),
        ("the changelog has become shorter", [position(5)], 1, [0], 1),
        (
            "a foreign entry of the rest is taken out",
            [position(5), NUMBER, (b"x", b"y"), (b"x", None)],
            4,
            [2],
            2,
        ),
    ],
)
def test_a_takeover_reads_the_rest_or_all(
    monkeypatch: pytest.MonkeyPatch, what: str, entries: list[Entry], end: int, begins: list[int], read: int
) -> None:
    """What waits for the end of its flush is applied too. A second restore reads all; nothing is shown of the first."""
    monkeypatch.setattr(restore, "ChangelogTakeover", FakeTakeover)
    monkeypatch.setattr(FakeTakeover, "end", end)

    async def run() -> None:
        readers = FakeReaders(entries)
        context = replace(new_fixture().context, readers=readers)  # type: ignore[arg-type]
        standby = Standby(PARTITION, context)
        async with standby.lock:
            await standby.read(FakeFetched([position(5)], 1))  # type: ignore[arg-type]
            standby.look(1, 1)
            await standby.read(FakeFetched([NUMBER], 2))  # type: ignore[arg-type]
        changelog = PartitionChangelog(PARTITION, context, standby)
        state, found = await changelog.restore()
        last = [entry for entry in entries if entry[0] == b"p"][-1]
        assert (found, readers.begins, position(state.position)) == (read, begins, last)
        assert [*state.users] == (["u1"] if NUMBER in entries else [])
        assert changelog.followed_entries + found == len(entries)
        assert standby.state is (state if begins == [2] else None)
        again, _ = await changelog.restore()
        assert (readers.begins[1:], again.position, standby.state) == ([0], state.position, None)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("what", "rest", "shown"),
    [
        ("whole flushes", [NUMBER, position(6), NUMBER, position(7), NUMBER, NUMBER, position(8)], [6, 7, 7, 8]),
        ("a flush of more than may wait", [NUMBER, NUMBER, NUMBER, NUMBER, position(6)], [5, None, None]),
        ("an entry that is taken out again", [(b"x", b"y"), position(6), (b"x", None), position(7)], [None, None]),
    ],
)
def test_a_rest_is_taken_in_one_fetch_after_the_other(
    monkeypatch: pytest.MonkeyPatch, what: str, rest: list[Entry], shown: list[int | None]
) -> None:
    """All of it may not fit in memory. Replies are as of a flush meanwhile, and none are made of what is no flush."""
    monkeypatch.setattr(restore, "ChangelogTakeover", FakeTakeover)
    monkeypatch.setattr(FakeTakeover, "end", 100)
    monkeypatch.setattr(module, "WAITING_MAX", 3)

    async def run() -> None:
        def look() -> int | None:
            return standby.state.position if standby.state is not None else None

        readers = FakeReaders([position(5), *rest], 2, look)
        context = replace(new_fixture().context, readers=readers)  # type: ignore[arg-type]
        standby = Standby(PARTITION, context)
        async with standby.lock:
            await standby.read(FakeFetched([position(5)], 1))  # type: ignore[arg-type]
        standby.look(1, 1)
        state, read = await PartitionChangelog(PARTITION, context, standby).restore()
        assert (readers.looks, read) == (shown, len(rest))
        assert (standby.state, position(state.position)) == (state, rest[-1])

    asyncio.run(run())


@pytest.mark.parametrize(("error", "begins"), [(TimeoutError(), [2, 2]), (CorruptRecordException(), [2, 0])])
def test_a_takeover_that_fails_goes_on_with_the_standby(
    monkeypatch: pytest.MonkeyPatch, error: Exception, begins: list[int]
) -> None:
    """A broker often dies with the worker. All was read again, and nobody answered meanwhile. But what cannot be
    decoded is looked at from the changelog's begin."""
    monkeypatch.setattr(restore, "ChangelogTakeover", FakeTakeover)
    monkeypatch.setattr(FakeTakeover, "end", 100)
    other = (b"n" + msgspec.msgpack.encode(("u2", "1666")), msgspec.msgpack.encode(1))

    async def run() -> None:
        readers = FakeReaders([position(5), NUMBER, position(6), other, other, position(7)], 2)
        readers.failures = [error]
        context = replace(new_fixture().context, readers=readers)  # type: ignore[arg-type]
        standby = Standby(PARTITION, context)
        async with standby.lock:
            await standby.read(FakeFetched([position(5)], 1))  # type: ignore[arg-type]
            standby.look(1, 1)
            await standby.read(FakeFetched([NUMBER], 2))  # type: ignore[arg-type]
        changelog = PartitionChangelog(PARTITION, context, standby)
        with pytest.raises(type(error)):
            await changelog.restore()
        assert (standby.state is not None) == (begins == [2, 2])
        state, read = await changelog.restore()
        assert (readers.begins, sorted(state.users), state.position) == (begins, ["u1", "u2"], 7)
        assert changelog.followed_entries + read == len(readers.entries)

    asyncio.run(run())


@pytest.mark.parametrize("follows", [True, False])
def test_entries_are_counted_while_a_restore_reads_them(monkeypatch: pytest.MonkeyPatch, follows: bool) -> None:
    """The runbook asks how many a second there are while a restore takes long: they were counted at its end."""
    monkeypatch.setattr(restore, "ChangelogTakeover", FakeTakeover)
    monkeypatch.setattr(FakeTakeover, "end", 100)

    async def run() -> None:
        context = new_fixture().context
        readers = FakeReaders(
            [position(5), NUMBER, position(6)], 1,
            lambda: context.metrics.registry.get_sample_value("ecounters_restore_entries_total"),
        )  # fmt: skip
        context = replace(context, readers=readers)  # type: ignore[arg-type]
        standby = Standby(PARTITION, context)
        if follows:
            async with standby.lock:
                await standby.read(FakeFetched([position(5)], 1))  # type: ignore[arg-type]
        await PartitionChangelog(PARTITION, context, standby if follows else None).restore()
        assert readers.looks == ([1, 2] if follows else [1, 2, 3])

    asyncio.run(run())


def test_a_rest_that_cannot_be_read_is_said_as_without_a_standby(monkeypatch: pytest.MonkeyPatch) -> None:
    """The restore of all names what cannot be read; nothing of what was followed is used or shown."""
    monkeypatch.setattr(restore, "ChangelogTakeover", FakeTakeover)
    monkeypatch.setattr(FakeTakeover, "end", 2)

    async def run() -> None:
        readers = FakeReaders([position(5), (b"n" + msgspec.msgpack.encode(("u1", "1")), b"\xc1"), NUMBER])
        context = replace(new_fixture().context, readers=readers)  # type: ignore[arg-type]
        standby = Standby(PARTITION, context)
        async with standby.lock:
            await standby.read(FakeFetched([position(5)], 1))  # type: ignore[arg-type]
        changelog = PartitionChangelog(PARTITION, context, standby)
        with pytest.raises(MustWait, match="has at offset 1 an entry that cannot be read: telephone number"):
            await changelog.restore()
        assert readers.begins == [1, 0]
        assert standby.state is None

    asyncio.run(run())


class FailingFollower:
    """A connection to a changelog at which a fault of the program shows, each time. ``connected``: how often."""

    connected = 0

    def __init__(self, *_: object) -> None:
        """Connects to no broker."""

    async def start(self) -> None:
        """Raises."""
        FailingFollower.connected += 1
        raise LookupError

    async def stop(self) -> None:
        """Closes nothing."""


def test_a_fault_of_the_program_does_not_end_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins anew, and what is not followed meanwhile is counted as such: both went unnoticed."""
    monkeypatch.setattr(standbys_module, "ChangelogFollower", FailingFollower)
    monkeypatch.setattr(standbys_module, "AGAIN_S", 0)

    async def run() -> None:
        context = new_fixture().context
        standbys = Standbys(replace(context, settings=replace(context.settings, standbys=1)))
        standbys.follow(dict.fromkeys(range(PARTITIONS), "http://a"), MEMBERS[:2], "http://b")
        async with asyncio.timeout(WAIT_S):
            while FailingFollower.connected < 3:  # noqa: ASYNC110 - the task connects in between
                await asyncio.sleep(0)
        assert (standbys.wanted, standbys.whole()) == (PARTITIONS, [])
        await standbys.stop()

    asyncio.run(run())
