"""What a recount reads of the topics before."""

from __future__ import annotations

from ecounters.changelog.binding import Binding, Counted, EventsLog
from streams.tools.segments import Segment, segments_of

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
