"""Events that their call refuses: a second call under its id, and one more than a call may have."""

from __future__ import annotations

import pytest

from ecounters.recount.call import Limits
from tests.support.builders import CallScript, Event, call, event
from tests.unit.recount.recounted_log import DAY_S, HOUR_S, Recounted, recounted

REUSED = [("call_id_reused", "callId")]


def restarted(at: float) -> Event:
    """A restart of switch s1."""
    return event("switch.restarted", at, None, switchId="s1")


def started() -> CallScript:
    """The start of call c1 on switch s1."""
    return call().started(0, switchId="s1", number="+1")


def tick(at: float) -> Event:
    """An event of another user, which moves the watermark."""
    return event("balance.updated", at, "ticker", balance=0)


def test_a_start_after_a_restart_is_another_call() -> None:
    """Row 7: it is refused, and nothing of the first call changes: neither times nor numbers nor what was heard."""
    log = recounted(started().ringing(2), restarted(60))
    before = log.counted("TC", "CST", "LCT", "ringTime", "freshCall")
    assert log.refused(call().started(70, "OBD", number="+2")) == REUSED
    assert log.counted("TC", "CST", "LCT", "ringTime", "freshCall") == before == (1, {"-2": 1}, {}, 58, 1)
    assert log.recount.watermark == restarted(60)["ts"]
    assert log.take(call("c2").started(71, number="+2")).counted("freshCall") == (2,)


@pytest.mark.parametrize("end", [call().ended(60), restarted(60)])
def test_only_a_start_after_the_end_is_another_call(end: CallScript | Event) -> None:
    """Of the end's ms it is a start of this call, of which the smallest counts."""
    assert recounted(started(), end).refused(call().started(60.001)) == REUSED
    log = recounted(started(), end, call().started(60, "OBD"), call().started(-1, "IBD"))
    assert log.counted("CT") == ({"IBD": 1},)


def test_the_same_start_again_is_no_other_call() -> None:
    """Duplicates by id are accepted, even with another time; the start of a record is the smallest one."""
    again = {**started().events[0], "ts": call().ended(70).events[0]["ts"]}
    assert recounted(started().ended(60), *started().events, again).counted("TC") == (1,)


def test_a_start_that_was_accepted_may_come_again() -> None:
    """Another start of the call while it lived is a duplicate later, whatever its time; a new one is another call."""
    two = recounted(call().started(5), call().started(9), call().ended(7))
    assert two.refused(call().started(9)) == []
    assert two.refused(call().started(9, "IBD").started(8)) == REUSED
    three = recounted(call().started(9), call().started(5), call().started(1), call().ended(2))
    assert three.refused(call().started(9), call().started(5), call().started(1)) == []


def test_a_call_that_its_start_has_not_told_of_takes_any_start() -> None:
    """A start that comes after its end in time, as clocks of switches differ."""
    assert recounted(call().ended(60), call().started(61)).counted("TC", "CST") == (1, {"16": 1})


def test_a_lifted_end_is_no_end() -> None:
    """The call lives, so another start is one of its own."""
    assert recounted(started(), restarted(60), call().heartbeat(61)).refused(call().started(70)) == []


def test_a_silent_call_is_another_when_it_starts_again() -> None:
    """By the watermark before, or by the time of the start itself: its end is when it was last heard of."""
    log = recounted(started().heartbeat(10))
    assert log.refused(call().started(10 + 4 * HOUR_S)) == REUSED
    assert log.refused(call().started(9 + 4 * HOUR_S)) == []
    moved = recounted(started().heartbeat(10), tick(10 + 4 * HOUR_S))
    assert moved.refused(call().started(10.001)) == REUSED
    assert moved.refused(call().started(10)) == []


def test_the_id_of_a_dropped_record_is_free() -> None:
    """15 minutes after a real end, 24 hours after an end of a switch."""
    assert recounted(started().ended(60), tick(959.999)).refused(call().started(960)) == REUSED
    assert recounted(started().ended(60), tick(960), call().started(960)).counted("TC") == (2,)
    assert recounted(started(), restarted(60), tick(59 + DAY_S)).refused(call().started(60 + DAY_S)) == REUSED
    assert recounted(started(), restarted(60), tick(60 + DAY_S)).refused(call().started(60 + DAY_S)) == []


# ------------------------------------------------------------------------------------------------------ too large


def numbered(kind: str, at: int) -> Event:
    """One of many different events of a type."""
    made = event(kind, 1 + at / 1000, callId="c1", ivrId=f"i{at % 7}", digits="12345", legId=f"l{at}")
    return {**made, "id": f"{at}"}


@pytest.mark.parametrize(
    ("kinds", "most", "field"),
    [(("leg.dialed", "leg.ringing", "leg.answered", "leg.ended"), 200, "legId"), (("dtmf.received",), 1000, "callId"),
     (("call.held", "call.resumed"), 1000, "callId"), (("ivr.entered", "ivr.left"), 1000, "callId")],
)  # fmt: skip
def test_a_call_has_at_most_so_many(kinds: tuple[str, ...], most: int, field: str) -> None:
    """Rows 15 and 17: one more is refused and changes nothing, what is there comes again, other events are taken."""
    events = [numbered(kinds[at % len(kinds)], at) for at in range(most + 1)]
    log = recounted(started(), *events[:most])
    before, watermark = log.counted("DTMF", "UC", "CNC", "CHSR", "LIVR"), log.recount.watermark
    far = {**events[most], "ts": events[most]["ts"] + 3 * 3_600_000}
    assert log.refused(events[most], far) == [("call_too_large", field)] * 2
    assert (log.counted("DTMF", "UC", "CNC", "CHSR", "LIVR"), log.recount.watermark) == (before, watermark)
    assert log.take(tick(2 * HOUR_S + 2)).recount.suspected("u1") == (0 if log.counted("LCT") == ({},) else 1)
    log.take(*events[:most], call().heartbeat(HOUR_S).ended(2 * HOUR_S))


def test_what_is_one_more() -> None:
    """Legs go by legId, inputs by id, holds by time, id and type, IVR entries by these and the IVR."""
    limits = Limits(legs=1, inputs=1, holds=2, ivr_entries=2)
    log = recounted(
        started().dialed(1).ringing(2, "1").answered(3, "1", 2).leg_ended(4, "1"), call().dtmf(5, "1"),
        {**call().dtmf(5, "1").events[0], "digits": "0", "ts": call().dtmf(4, "1").events[0]["ts"]},
        call().held(6).resumed(7).held(6), call().entered(8, "a").left(8, "a").entered(8, "a"), limits=limits,
    )  # fmt: skip
    assert log.counted("UC", "DTMF", "LIVR", "holdTime") == (1, {"0": 1}, {}, 1)
    too_large = [("call_too_large", "callId")]
    assert log.refused(call().ringing(2, "2")) == [("call_too_large", "legId")]
    assert (
        log.refused(call().dtmf(6, "1")) == log.refused(call().held(7)) == log.refused(call().resumed(6)) == too_large
    )
    assert log.refused(call().entered(8, "b")) == log.refused({**call().left(8, "a").events[0], "id": "z"}) == too_large
    assert log.refused(call("c2").ringing(2, "2")) == []
    starts = recounted(started(), call().started(1), limits=Limits(starts=2))
    assert starts.refused(call().started(2), started(), call().started(1), call().ringing(3)) == too_large


def test_events_of_one_time_and_id_are_told_apart_by_type_and_ivr() -> None:
    """A held and a resumed, an entered and a left, and two IVRs that were entered, are two each."""
    too_large, limits = [("call_too_large", "callId")], Limits(holds=1, ivr_entries=1)
    held, resumed = ({**one, "id": "x"} for one in call().held(1).resumed(1).events)
    assert recounted(started(), held, held, limits=limits).refused(resumed) == too_large
    entered, left, other = ({**one, "id": "x"} for one in call().entered(1, "a").left(1, "a").entered(1, "b").events)
    log = recounted(started(), entered, entered, limits=limits)
    assert (log.refused(left), log.refused(other)) == (too_large, too_large)


def test_45_000_inputs_of_one_call_are_read_in_seconds() -> None:
    """Row 15: from the 1,001st on each is refused, and the other calls count on."""
    log = Recounted()
    many = ({**numbered("dtmf.received", at % 999), "id": f"{at}"} for at in range(45_000))
    assert log.take(started()).refused(*many) == [("call_too_large", "callId")] * 44_000
    assert log.take(call("c2").started(9)).counted("TC", "DTMF") == (2, {"5 digits": 1000})
