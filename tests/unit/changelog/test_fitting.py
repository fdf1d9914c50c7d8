"""What a worker says of saved states that are not of the topic that it is to read."""

from __future__ import annotations

import msgspec
import pytest

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import FORMAT
from ecounters.changelog.fitting import misfit
from ecounters.changelog.saved import Position

LOG = EventsLog("cluster-1", "events", "ab" * 16, 3)
CHANGELOG = "app-state-changelog"


def saved(binding: Binding | None, *, written: int = FORMAT) -> bytes:
    """An encoded position."""
    return msgspec.msgpack.encode(Position(written, 7, 0, 0, binding))


def bound(log: EventsLog, import_id: str = "") -> bytes:
    """An encoded position of a state of ``log``."""
    return saved(Binding(log, "1.0", (), import_id))


def changed(**fields: object) -> EventsLog:
    """LOG, but for some fields."""
    return msgspec.structs.replace(LOG, **fields)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (changed(cluster="cluster-2"), ["cluster-2", "cluster-1", "ECOUNTERS_BROKER", "state import"]),
        (changed(topic="other"), ["topic other", "ECOUNTERS_TOPIC is events", "ECOUNTERS_APP_ID", "state export"]),
        (changed(topic_id="cd" * 16), ["cd" * 16, "ab" * 16, "made anew", "state import"]),
        (changed(partitions=2), ["of 2 partitions", "events has 3", "ecounters topics --grow 3", "state import"]),
    ],
)
def test_a_state_of_another_log_is_named(log: EventsLog, words: list[str]) -> None:
    """The line has what is there, what was expected, and the command that helps. One such partition is enough."""
    why = misfit({0: bound(LOG), 1: bound(log)}, LOG, CHANGELOG)
    assert all(word in why for word in words), why
    assert "\n" not in why
    assert misfit({0: bound(LOG), 1: bound(LOG)}, LOG, CHANGELOG) == ""


@pytest.mark.parametrize("unknown", [changed(topic_id=""), changed(cluster="")])
def test_what_a_broker_does_not_tell_is_not_compared(unknown: EventsLog) -> None:
    """The embedded broker tells no topic ids: a state that is moved to or from there is judged by the rest."""
    assert misfit({0: bound(unknown)}, LOG, CHANGELOG) == ""
    assert misfit({0: bound(LOG)}, unknown, CHANGELOG) == ""


def test_states_from_before_are_bound_by_who_comes_first() -> None:
    """Neither an empty changelog nor one without bindings says of which topic it is."""
    assert misfit({}, LOG, CHANGELOG) == ""
    assert misfit({0: saved(None), 2: saved(None, written=1)}, LOG, CHANGELOG) == ""


def test_a_newer_format_is_refused_whatever_else_it_holds() -> None:
    """Its position may have any form but for its first field."""
    for value in (saved(None, written=FORMAT + 1), msgspec.msgpack.encode([FORMAT + 1, "of another form"])):
        why = misfit({0: bound(LOG), 1: value}, LOG, CHANGELOG)
        assert f"partition 1 of {CHANGELOG} has format {FORMAT + 1}" in why
        assert "newer release" in why


@pytest.mark.parametrize("value", [b"", b"\xc1", b"p", msgspec.msgpack.encode([FORMAT, "x"]), saved(None, written=0)])
def test_a_position_that_cannot_be_read_concerns_its_own_partition(value: bytes) -> None:
    """Other partitions go on: only the restore of this one can say what is wrong."""
    assert misfit({0: bound(LOG, "i1"), 1: value, 2: bound(LOG, "i1")}, LOG, CHANGELOG) == ""


@pytest.mark.parametrize(
    ("others", "undone"),
    [
        ({}, "partitions 1, 2 of 3"),
        ({1: bound(LOG, "i1")}, "partition 2 of 3"),
        ({1: bound(LOG, "i1"), 2: bound(LOG)}, "partition 2 of 3"),
        ({1: bound(LOG, "i1"), 2: bound(LOG, "i2")}, "partition 2 of 3"),
        ({1: bound(LOG, "i1"), 2: saved(None)}, "partition 2 of 3"),
    ],
)
def test_an_import_that_is_half_done_is_refused(others: dict[int, bytes], undone: str) -> None:
    """Some partitions would go on with what was imported, others from nothing."""
    why = misfit({0: bound(LOG, "i1"), **others}, LOG, CHANGELOG)
    assert undone in why
    assert "ecounters state import FILE" in why
    whole = dict.fromkeys(range(3), bound(LOG, "i1"))
    assert misfit(whole, LOG, CHANGELOG) == ""


def test_a_partition_whose_broker_is_away_stops_no_worker() -> None:
    """It may have the import that all others have; it is looked at when it is restored."""
    imported = {at: bound(LOG, "i1") for at in range(LOG.partitions - 1)}
    assert "lack it" in misfit(imported, LOG, CHANGELOG)
    assert misfit(imported, LOG, CHANGELOG, {LOG.partitions - 1}) == ""
