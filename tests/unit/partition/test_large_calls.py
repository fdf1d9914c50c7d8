"""Calls with many legs, holds, IVR entries or inputs: bounded, cheap for each event, and saved item by item."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ecounters.calls.large import LargeCall
from ecounters.changelog.entries import CALL, ITEM, POSITION, Entry
from tests.support.builders import CallScript, Feed, answer_of, call, event, picked, restored


def legs(count: int) -> CallScript:
    """A call with so many legs that rang and ended."""
    script = call().started(0)
    for number in range(count):
        script.ringing(1 + number, f"leg{number}", retry=number % 2).leg_ended(2 + number, f"leg{number}")
    return script


def inputs(count: int) -> CallScript:
    """A call with so many inputs."""
    script = call().started(0)
    for number in range(count):
        script.dtmf(1 + number, str(number % 10), ivr="menu")
    return script


def holds(count: int) -> CallScript:
    """A call with so many helds and resumeds together."""
    script = call().started(0).answered(0.5)
    for number in range(count):
        (script.held if number % 2 == 0 else script.resumed)(1 + number)
    return script


def ivrs(count: int) -> CallScript:
    """A call with so many entries of IVRs, all at one time."""
    script = call().started(0)
    for number in range(count):
        script.entered(1, f"ivr{number}")
    return script


KINDS = [(legs, 200, "legId"), (inputs, 1000, "callId"), (holds, 1000, "callId"), (ivrs, 1000, "callId")]


@pytest.mark.parametrize(("script", "most", "field"), KINDS)
def test_one_more_than_a_call_keeps_is_refused(script: Callable[[int], CallScript], most: int, field: str) -> None:
    """The event is dead-lettered and moves nothing; what is there already is taken again, and other events are too."""
    feed = Feed().take(script(most))
    before, state = feed.answer(), feed.state
    watermark, last_ts = state.watermark, state.users["u1"].calls["c1"].last_ts
    more = [e for e in script(most + 1).events if e not in script(most).events]
    late = [{**e, "ts": e["ts"] + 10_000_000} for e in more]
    assert set(feed.refused(*late)) == {("call_too_large", field)}
    assert (state.watermark, state.users["u1"].calls["c1"].last_ts, feed.answer()) == (watermark, last_ts, before)
    feed.take(script(most))
    assert feed.answer() == before
    assert picked(feed.take(call().ended(20_000)), "CST") == ({"16": 1},)


@pytest.mark.parametrize(("count", "kept"), [(1, 0), (16, 0), (17, 17), (1_000, 1_000)])
def test_how_many_slots_a_changed_call_takes_to_count(count: int, kept: int) -> None:
    """Three for each input that is new, and for each that the call's end moves to another cell twice as many."""
    feed = Feed().take(inputs(count))
    user = feed.state.users["u1"]
    assert 3 * count <= user.unsettled_slots(10**6) <= 20 + 6 * count
    user.settle()
    assert user.unsettled_slots(10**6) == 0
    feed.take(event("call.transferred", 1_500, callId="c1"))
    assert user.unsettled_slots(10**6) <= 20 + 6 * (count - kept)
    feed.take(call().ended(1_501))
    assert user.unsettled_slots(10**6) >= 6 * count
    assert user.unsettled_slots(50) > 50 or 6 * count < 50


@pytest.mark.parametrize(("script", "most", "field"), KINDS)
@pytest.mark.parametrize("count", [16, 17, 40])
def test_a_large_call_counts_as_a_small_one(
    script: Callable[[int], CallScript], most: int, field: str, count: int
) -> None:
    """Whether it grows between two counts or at once, backwards, and through saves and restores."""
    events = [*script(count).events, *call().ended(5000, by="caller").events]
    at_once = Feed().take(*events)
    backwards = Feed().take(events[0], *events[:0:-1], arrived=6000)
    step_by_step, saved = Feed(), Feed()
    entries: list[Entry] = []
    for one in events:
        step_by_step.take(one).answer()
        saved.take(one)
        entries += saved.state.take_changes()
        saved.state = restored(entries)
    assert at_once.answer() == backwards.answer() == step_by_step.answer() == saved.answer()
    assert answer_of(restored(list(at_once.state.take_changes()))) == at_once.answer()


def test_a_corrected_input_of_a_large_call_is_counted_once() -> None:
    """Two messages with one id are one input, the smaller; counted before or not."""
    feed = Feed().take(inputs(20))
    first = inputs(20).events[1]
    feed.answer()
    feed.take({**first, "digits": "7", "ts": first["ts"] - 1}, {**first, "digits": "8", "ts": first["ts"] - 2})
    assert picked(feed, "DTMF") == ({"0": 1, "1": 2, "2": 2, "3": 2, "4": 2, "5": 2, "6": 2, "7": 2, "8": 3, "9": 2},)
    assert answer_of(restored(list(feed.state.take_changes()))) == feed.answer()


def test_a_key_press_writes_that_input_alone() -> None:
    """And the call's own entry, its cell's and the position: never all that the call holds."""
    feed = Feed().take(inputs(1000))
    first = list(feed.state.take_changes())
    assert sum(key[:1] == ITEM for key, _ in first) == 1000
    feed.take(call().heartbeat(2000))
    assert [key[:1] for key, _ in feed.state.take_changes()] == [CALL, POSITION]
    feed = Feed().take(inputs(500))
    list(feed.state.take_changes())
    feed.take(call().dtmf(2000, "5"))
    kinds = [key[:1] for key, _ in feed.state.take_changes()]
    assert kinds[:2] == [CALL, ITEM] and kinds.count(ITEM) == 1


def test_no_entry_of_a_largest_call_is_long() -> None:
    """With ids, digits and IVRs as long as they may be, all of them in characters of four bytes."""
    wide = "\U0001f4de" * 128
    script = CallScript(wide, "u1").started(0, did=wide, campaignId=wide, number=wide, switchId=wide, id=wide)
    for kind, most in (("leg.ringing", 200), ("dtmf.received", 1000), ("call.held", 1000), ("ivr.entered", 1000)):
        for number in range(most):
            name = f"{number}".rjust(4, "0") + wide[4:]
            script.add(kind, 1, id=name, digits="9" * 50, ivrId=name, legId=name if kind == "leg.ringing" else None)
    feed = Feed().take(script)
    lengths = [len(key) + len(value or b"") for key, value in feed.state.take_changes() if key[:1] in (CALL, ITEM)]
    assert (len(lengths), max(lengths) < 8_192) == (1 + 200 + 3 * 1000, True)


def test_a_dropped_large_call_leaves_nothing_in_the_changelog() -> None:
    """Every item has its tombstone."""
    feed = Feed().take(inputs(30), call().ended(40))
    entries = list(feed.state.take_changes())
    feed.clock(50_000)
    entries += feed.state.take_changes()
    last = dict(entries)
    assert [key for key, value in last.items() if key[:1] in (CALL, ITEM) and value is not None] == []
    assert answer_of(restored(entries)) == feed.answer()


def test_long_inputs_are_counted_by_their_length() -> None:
    """The digits themselves are in no record, cell or entry."""
    feed = Feed().take(call().started(0).dtmf(1, "1234").dtmf(2, "48151").dtmf(3, "9" * 66, valid=False).dtmf(4, "#"))
    assert picked(feed, "DTMF", "DTMFV", "DTMFINV") == (
        {"1234": 1, "#": 1, "5 digits": 1, "66 digits": 1},
        {"1234": 1, "#": 1, "5 digits": 1},
        {"66 digits": 1},
    )
    feed = Feed().take(call().started(0).add("dtmf.received", 1, digits="48151", id="e"))
    kept = b"".join(key + (value or b"") for key, value in feed.state.take_changes())
    assert b"5 digits" in kept and b"48151" not in kept


def test_what_waits_for_a_start_needs_no_memory_for_each_event() -> None:
    """Inputs that replace one another are counted once the call starts, each once."""
    feed = Feed().take(*inputs(40).events[1:])
    large = feed.state.users["u1"].calls["c1"].large
    assert isinstance(large, LargeCall)
    first = inputs(1).events[1]
    for number in range(100):
        feed.take({**first, "ts": first["ts"] - number})
        feed.answer()
    assert large.uncounted == []
    feed.take(call().started(0))
    assert feed.answer()["DTMF"] == {str(n): 4 for n in range(10)}
    assert answer_of(restored(list(feed.state.take_changes()))) == feed.answer()


def test_items_whose_call_was_not_written_are_left_out() -> None:
    """Kafka took all entries but the call's: the next flush removes its items, and a new call of the id has none."""
    feed = Feed().take(inputs(30), call("c2").started(0))
    entries = [entry for entry in feed.state.take_changes() if entry[0] != CALL + msgspec.msgpack.encode(("u1", "c1"))]
    state = restored(entries)
    assert list(state.users["u1"].calls) == ["c2"]
    last = dict([*entries, *state.take_changes()])
    assert [key for key, value in last.items() if key[:1] == ITEM and value is not None] == []
