"""Who is a standby, and what becomes of one that cannot follow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from ecounters.changelog.binding import Binding
from ecounters.changelog.entries import FORMAT, Entry, Position, UnreadableEntries, position_entry
from streams.engine import standby as module
from streams.engine.standby import CannotFollow, Standby
from streams.engine.standbys import standbys_of
from tests.support.engine_fakes import BINDING, LOG, PARTITION, new_fixture

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

    def lists(self) -> Iterator[list[Entry]]:
        """One list for each entry."""
        return ([entry] for entry in self._entries)


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
    monkeypatch.setattr(module, "STALE_MS", -1)
    with pytest.raises(CannotFollow, match="not been at the end"):
        follow(([position(5)], 1, 1))
