"""What a restore and a standby make of fetched record batches with markers and aborted transactions."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Final

import pytest

from ecounters.changelog.entries import Entry
from streams.basics.slices import TimeSlices
from streams.kafka import changelog_reader
from streams.kafka.changelog_follower import Fetched
from streams.kafka.changelog_reader import _entries, _Reading
from tests.support.fetch_results import TP, fetched, position_of
from tests.support.record_batches import CONTROL, TRANSACTIONAL, batch

ABORTED, COMMITTED = 3, 7
"""Producers' ids."""


def of(producer: int, offset: int, *values: bytes) -> bytes:
    """A record batch of a transaction."""
    return bytes(batch(offset, values, attributes=TRANSACTIONAL, producer=producer))


def marker(producer: int, offset: int) -> bytes:
    """The end of a transaction."""
    return bytes(batch(offset, [b"marker"], attributes=TRANSACTIONAL | CONTROL, producer=producer))


LOG: Final = b"".join((
    of(ABORTED, 0, b"x", b"y"), of(COMMITTED, 2, b"a", b"b"), marker(ABORTED, 4), marker(COMMITTED, 5),
    of(COMMITTED, 6, b"c"), of(ABORTED, 7, b"z"), marker(COMMITTED, 8), marker(ABORTED, 9),
))  # fmt: skip
"""Of the offsets 0 to 9."""
ENTRIES: Final[list[Entry]] = [(b"u1", b"a"), (b"u1", b"b"), (b"u1", b"c")]


def result() -> Any:
    """The FetchResult of LOG, which says where the aborted transactions begin."""
    return fetched(LOG, 0, aborted=[(ABORTED, 0), (ABORTED, 7)])


def test_a_restore_reads_what_is_committed_and_ends_behind_the_last_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would wait for records that never come."""

    async def next_result(*_: object) -> Any:
        return result()

    async def offsets(tps: list[Any], of_all: int) -> dict[Any, int]:
        return dict.fromkeys(tps, of_all)

    monkeypatch.setattr(changelog_reader, "next_result", next_result)
    consumer: Any = SimpleNamespace(
        **{name: lambda *_: None for name in ("assign", "pause", "seek", "resume")},
        beginning_offsets=lambda tps: offsets(tps, 0),
        end_offsets=lambda tps: offsets(tps, 10),
        _fetcher=SimpleNamespace(),
    )
    reading, shares = _Reading(TP, 0, 0), list[float]()

    async def run() -> list[list[Entry]]:
        return [entries async for entries in _entries(consumer, reading, TimeSlices(10), shares.append)]

    assert asyncio.run(run()) == [ENTRIES, []]
    assert (reading.is_done, reading.position, shares) == (True, 10, [1.0])


def test_a_standby_reads_what_is_committed_and_goes_on_behind_the_last_marker() -> None:
    """What it has not taken is fetched again, from the same offset."""

    async def lists(of_one: Fetched) -> list[list[Entry]]:
        return [entries async for some in of_one.runs() for entries in some]

    for is_taken, position in ((True, 10), (False, 0)):
        one = result()
        fetcher = SimpleNamespace(_closed=False, _records={TP: one}, _wait_consume_future=None, _notify=lambda _: None)
        consumer: Any = SimpleNamespace(_closed=False, _fetcher=fetcher)
        of_one = Fetched(TP, one, consumer)
        if is_taken:
            assert asyncio.run(lists(of_one)) == [ENTRIES]
        assert of_one.next_offset == (10 if is_taken else None)
        of_one.done()
        assert (fetcher._records, position_of(one)) == ({}, position)
