"""What a recount reads of the topics before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ecounters.changelog.binding import Binding, Counted, EventsLog
from ecounters.recount.recount import Recount
from streams.kafka.metadata import ClusterFacts, TopicFacts
from streams.settings.load import load
from streams.settings.narrow import limits_of
from streams.tools import segments
from streams.tools.segments import Lineage, Segment, recount_segments, segments_of

FOUR = EventsLog("k1", "events", "a" * 32, 4)
EIGHT = EventsLog("k1", "events", "a" * 32, 8)
MIRROR = EventsLog("k2", "events", "b" * 32, 8)
ENDS = (5, 6, 7, 8)
GROWN = (*ENDS, 0, 0, 0, 0)
LATER = (9, 9, 9, 9, 1, 1, 1, 1)


def test_a_state_that_never_moved_has_no_segments() -> None:
    """Only the topic of today."""
    assert segments_of(Binding(FOUR, "")) == []


def test_a_topic_that_has_grown_is_a_segment_of_its_own() -> None:
    """Although it is the same topic."""
    assert segments_of(Binding(EIGHT, "", (Counted(FOUR, ENDS, GROWN),))) == [Segment(FOUR, ENDS, GROWN)]


def test_a_mirror_is_read_in_place_of_what_it_is_a_mirror_of() -> None:
    """Also for the time before that one had grown."""
    history = (Counted(FOUR, ENDS, GROWN), Counted(EIGHT, LATER))
    found = segments_of(Binding(MIRROR, "", history))
    assert found == [Segment(EventsLog("k2", "events", "b" * 32, 4), ENDS, GROWN)]


def test_another_topic_is_a_segment() -> None:
    """Read from its start or from its end."""
    begins = (0, 0, 0, 0)
    assert segments_of(Binding(MIRROR, "", (Counted(FOUR, ENDS, begins),))) == [Segment(FOUR, ENDS, begins)]


class FakeReader:
    """A log of 10 records without a value in each partition."""

    def __init__(self) -> None:
        self.partitions = 4
        self.begins = dict.fromkeys(range(8), 0)

    def skip_to(self, partition: int, offset: int) -> None:
        """Reads from there on."""
        self.begins[partition] = max(offset, self.begins[partition])

    async def up_to(self, partition: int, offset: int) -> AsyncIterator[list[tuple[int, int, None]]]:
        """The rows up to the offset."""
        yield [(at, 0, None) for at in range(self.begins[partition], offset)]
        self.begins[partition] = offset


def test_a_topic_that_has_grown_and_was_left_then_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ecounters explain` ended with an error, as it got the records from before the growth a second time."""

    @asynccontextmanager
    async def log_reader(*_: object) -> AsyncIterator[FakeReader]:
        yield FakeReader()

    async def topics_of(*_: object) -> ClusterFacts:
        return ClusterFacts("k1", {"events": TopicFacts("a" * 32, 8, 1, None)})

    monkeypatch.setattr(segments, "log_reader", log_reader)
    monkeypatch.setattr(segments, "topics_of", topics_of)
    settings = load({"ECOUNTERS_TOPIC": "others"})
    lineage = Lineage([Segment(FOUR, ENDS, GROWN), Segment(EIGHT, LATER, (0, 0, 0, 0))])
    got: list[tuple[int, int, int]] = []

    def read(recount: Recount, rows: list[Any]) -> None:
        recount.read(rows)
        got.extend((recount.partitions, recount.partition, row[0]) for row in rows)

    reader: Any = FakeReader()
    asyncio.run(recount_segments(settings, lineage, reader, limits_of(settings), None, read))
    expected = [(4, at, offset) for at, end in enumerate(ENDS) for offset in range(end)]
    expected += [(8, at, offset) for at, end in enumerate(LATER) for offset in range(GROWN[at], end)]
    assert got == expected
