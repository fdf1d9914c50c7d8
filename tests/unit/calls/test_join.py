"""The join: a call's record is a function of the set of its events."""

from __future__ import annotations

from itertools import permutations

import pytest

from ecounters.calls.join import Join, join_start, joins
from ecounters.calls.lists import current_ivr, ivr_entries, legs_of
from ecounters.calls.record import FORWARDED, STATUS_REAPED, STATUS_RESTARTED, TRANSFERRED, Call
from ecounters.events.parse import parse
from ecounters.events.types import TYPES, Started
from ecounters.partition.user import User
from tests.support.builders import CallScript, call, encoded, event, ms

JOINS = joins(Join(), 4)


def joined(*events: dict[str, object]) -> Call:
    """The record that the events make, in that order; without what ``partition.starts`` decides by the log's order."""
    made = Call("c1", User("u1"))
    for value in events:
        read = parse(encoded(value))
        if isinstance(read, Started):
            join_start(made, read, read.ts)
        else:
            JOINS[type(read)].join(made, read, read.ts, 0)
    return made


def of(script: CallScript) -> Call:
    """The record that a script makes, in the order it is written in."""
    return joined(*script.events)


def test_every_type_of_a_call_has_a_join() -> None:
    """No event of a call is left aside."""
    assert set(JOINS) == {kind.cls for kind in TYPES.values() if "callId" in kind.required}


def test_the_smallest_start_gives_everything_of_a_start() -> None:
    """Of several call.started the one with the smallest (ts, id) counts whole, not field by field."""
    first = event("call.started", 5, callId="c1", callType="IBD", did="d1") | {"id": "b"}
    tie = event("call.started", 5, callId="c1", callType="OBD", campaignId=7, switchId="s1") | {"id": "a"}
    later = event("call.started", 6, callId="c1", callType="QC", number="+15550001111") | {"id": "0"}
    for order in permutations((first, tie, later)):
        record = joined(*order)
        assert (record.start, record.start_id, record.type) == (ms(5), "a", "OBD")
        assert (record.campaign, record.did, record.number, record.switch) == ("7", "", "", "s1")


def test_the_smallest_end_gives_everything_of_an_end() -> None:
    """Of several call.ended the one with the smallest (ts, id) counts whole."""
    first = event("call.ended", 9, callId="c1", status=3, endedBy="caller") | {"id": "b"}
    tie = event("call.ended", 9, callId="c1", status=6) | {"id": "a"}
    later = event("call.ended", 10, callId="c1", status=16, endedBy="callee") | {"id": "0"}
    for order in permutations((first, tie, later)):
        record = joined(*order)
        assert (record.end, record.status, record.ended_by) == (ms(9), 6, "")


def test_a_leg_keeps_the_smallest_time_of_each_type_and_the_largest_retry() -> None:
    """Legs are told apart by their id; an absent id is leg "1"."""
    script = (
        call().dialed(1).ringing(4).ringing(3, leg="1").answered(9).answered(8, retry=2).leg_ended(20).leg_ended(19)
    ).ringing(7, leg="2", retry=1)
    for turned in (script.events, script.events[::-1]):
        legs = {leg.id: leg for leg in legs_of(joined(*turned))}
        assert set(legs) == {"1", "2"}
        assert (legs["1"].ringing, legs["1"].answered, legs["1"].ended) == (ms(3), ms(8), ms(19))
        assert (legs["1"].retry, legs["2"].retry, legs["2"].answered) == (2, 1, 0)


def test_messages_with_one_id_are_one_event() -> None:
    """A redelivered event adds no hold, no step in an IVR and no input."""
    script = call().held(1).resumed(2).entered(3, "menu").left(4, "menu").dtmf(5, "1", ivr="menu")
    once, thrice = of(script), joined(*script.events * 3)
    assert (thrice.holds, thrice.dtmfs) == (once.holds, once.dtmfs)
    assert list(ivr_entries(thrice)) == list(ivr_entries(once))
    assert (len(once.holds or ()), len(list(ivr_entries(once))), len(once.dtmfs or ())) == (2, 2, 1)


def test_entries_of_ivrs_are_sorted_whatever_their_order() -> None:
    """By (ts, id); of one id and time the ivr.entered comes first. The last one knows how many there are."""
    script = call().entered(1, "a").left(2, "a").entered(2, "b").entered(3, "c")
    script.events[1]["id"] = script.events[2]["id"] = "same"
    expected = [(ms(1), False, "a"), (ms(2), False, "b"), (ms(2), True, "a"), (ms(3), False, "c")]
    for order in permutations(script.events):
        record = joined(*order, *order)
        assert [(ts, left, ivr) for ts, _, left, ivr in ivr_entries(record)] == expected
        assert record.last_ivr is not None and record.last_ivr.count == 4


def test_of_two_inputs_with_one_id_the_smallest_counts() -> None:
    """Should one id name two different inputs, the order in which they came does not decide."""
    early = event("dtmf.received", 1, callId="c1", digits="9") | {"id": "x"}
    smaller = event("dtmf.received", 2, callId="c1", digits="1") | {"id": "x"}
    for order in permutations((early, smaller)):
        assert [digits for _, digits, _, _ in (joined(*order).dtmfs or {}).values()] == ["9"]


def test_transfers_and_forwards_are_remembered() -> None:
    """However often and whenever."""
    record = of(call().add("call.transferred", 1).add("call.transferred", 2))
    assert record.redirects == TRANSFERRED
    assert of(call().add("call.forwarded", 1)).redirects == FORWARDED


@pytest.mark.parametrize(
    ("steps", "current"),
    [
        ("", ""),
        ("+a", "a"),
        ("+a -a", ""),
        ("+a +b", "b"),
        ("+a +b -b", "a"),
        ("+a +b -a", "b"),
        ("+a +b -a -b", ""),
        ("+a +b +a", "a"),
        ("+a +b +a -a", "b"),
        ("+a +a -a", ""),
        ("-a", ""),
        ("-a +a", "a"),
        ("+a -b", "a"),
        ("+a +b +c -b -c", "a"),
    ],
)
def test_the_ivr_that_a_call_is_in(steps: str, current: str) -> None:
    """The last entered and not left since; leaving it leads back to the one before."""
    script = call()
    for at, step in enumerate(steps.split()):
        (script.entered if step[0] == "+" else script.left)(at, step[1:])
    assert current_ivr(of(script)) == current
    assert current_ivr(joined(*script.events[::-1])) == current


def test_who_ended_a_call() -> None:
    """A real end goes before the system's, and that before being reaped."""
    record = of(call().started(0))
    assert record.ended == 0
    record.last_ts, record.silence = ms(1), 2
    assert (record.ended, record.end_status) == (ms(1), STATUS_REAPED)
    record.system_end = ms(2), STATUS_RESTARTED
    assert (record.ended, record.end_status) == (ms(2), STATUS_RESTARTED)
    record.end, record.status = ms(3), 0
    assert (record.ended, record.end_status) == (ms(3), 0)
