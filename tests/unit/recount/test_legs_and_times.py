"""What legs, answers and holds count, with numbers worked out by hand."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.support.builders import CallScript, call, event
from tests.unit.recount.recounted_log import Recounted, recounted


def over(script: CallScript, leg: str, at: float, outcome: Any, retry: int | None = None) -> CallScript:
    """The call with a leg.ended that has an outcome."""
    return script.add("leg.ended", at, legId=leg, outcome=outcome, retry=retry)


def ring_all(outcome: str | None = "elsewhere", retry: int | None = None) -> CallScript:
    """Ten legs ring for 5 s, the fourth is answered, and the others end 50 ms later."""
    script = call().started(0)
    for leg in map(str, range(10)):
        script.dialed(0.5, leg, retry).ringing(1, leg)
    script.answered(6, "4")
    for leg in "012356789":
        over(script, leg, 6.05, outcome)
    return script


def test_legs_answered_elsewhere_count_nowhere() -> None:
    """Row 10: a ring group whose fourth phone is answered is one answered leg that rang for 5 s."""
    assert recounted(ring_all()).counted("UC", "CA", "PM", "CM", "ringTime", "avgRingTime") == (1, 1, 0, 0, 5, 5)
    assert recounted(ring_all(None)).counted("CA", "PM", "ringTime") == (0, 1, 50.45)
    retries = "FR_UC", "FR_CA", "FR_PM", "FR_UC_N", "FR_CA_N", "FR_GH_N"
    assert recounted(ring_all(retry=1)).counted(*retries) == (1, 1, 0, 1, 1, 0)


@pytest.mark.parametrize("outcome", ["Elsewhere", " elsewhere", "busy", "", None, "elsewhere" * 20])
def test_other_outcomes_mean_nothing(outcome: str | None) -> None:
    """Only exactly "elsewhere" leaves a leg out; a long outcome is cut and means nothing."""
    script = over(call().started(0).ringing(1, "1"), "1", 5, outcome)
    assert recounted(script).counted("UC", "CM", "ringTime") == (1, 1, 4)


@pytest.mark.parametrize("outcome", [1, True, ["elsewhere"], {}])
def test_an_outcome_is_a_text(outcome: Any) -> None:
    """Another type of JSON is refused."""
    assert Recounted().refused(over(call(), "1", 5, outcome)) == [("wrong_type", "outcome")]


def test_one_end_elsewhere_is_enough() -> None:
    """Of several leg.ended of a leg one says elsewhere, in any order."""
    said = over(over(CallScript("c1", "u1"), "1", 5, None), "1", 6, "elsewhere").events
    for events in (said, said[::-1]):
        assert recounted(call().started(0).ringing(1, "1"), *events).counted("UC", "ringTime") == (0, 0)


def test_a_call_whose_legs_are_all_elsewhere_did_not_ring() -> None:
    """It is a ghost; the caller who hung up 4 s after that ringing is not in CHSR; an answer of such a leg is none."""
    script = over(call().started(0).ringing(1, "1").answered(2, "1"), "1", 3, "elsewhere").ended(5, by="caller")
    assert recounted(script).counted("GHC", "MC", "CNC", "CHSR", "UC", "actualTT") == (1, 0, 0, 0, 0, 0)
    again = script.ringing(2, "2")
    assert recounted(again).counted("GHC", "MC", "CHSR", "UC", "ringTime") == (0, 1, 1, 1, 3)


# ------------------------------------------------------------------------------------------------------ answers


def test_an_answer_after_the_real_end_is_none() -> None:
    """Row 13: the caller's cancel crossed the answer. An answer of the same ms is one."""
    script = call().started(0).ringing(1).ended(5, by="caller")
    crossed = recounted(script).take(call().answered(5.05))
    assert crossed.counted("CNC", "MC", "CM", "CA", "ringTime", "actualTT", "CHSR") == (0, 1, 1, 0, 4, 0, 1)
    assert recounted(script, call().answered(5)).counted("CNC", "MC", "CA", "ringTime") == (1, 0, 1, 4)


def test_the_smallest_end_and_the_smallest_answer_are_compared() -> None:
    """A duplicate answer after the end takes nothing away, an earlier end takes the answer away."""
    answered = recounted(call().started(0).answered(4).answered(9).ended(5))
    assert answered.counted("CNC") == (1,)
    assert answered.take(call().ended(3)).counted("CNC") == (0,)


def test_each_leg_has_its_own_answer() -> None:
    """One leg's answer crossed the end, the other's did not: talk time begins with that."""
    script = call().started(0).ringing(1, "1").ringing(1, "2").answered(3, "2").ended(5).answered(6, "1")
    assert recounted(script).counted("CNC", "PM", "actualTT", "ringTime") == (1, 1, 2, 6)


def test_an_answer_after_an_end_of_the_system_is_one() -> None:
    """It lifts the end, or makes a reaped call live again."""
    log = recounted(call().started(0, switchId="s1"), event("switch.restarted", 5, None, switchId="s1"))
    assert log.take(call().answered(6)).counted("CNC", "CST") == (1, {})
    reaped = recounted(call().started(0), event("balance.updated", 5 * 3600, "ticker", balance=0))
    assert reaped.take(call().answered(6)).counted("CNC", "CST", "actualTT") == (1, {"-1": 1}, 0)


# -------------------------------------------------------------------------------------------------------- CHSR


@pytest.mark.parametrize(
    ("rang", "by", "counted"),
    [(5, "caller", 1), (0.001, "caller", 1), (0, "caller", 0), (5.001, "caller", 0), (4, "callee", 0), (4, None, 0)],
)
def test_chsr_is_from_0_to_less_than_5_s(rang: float, by: str | None, counted: int) -> None:
    """Row 12: a ringing after the end does not count; the call's end and the ringing may be of one ms."""
    assert recounted(call().started(-1).ringing(rang).ended(5, by=by)).counted("CHSR", "MC") == (counted, 1)


# ------------------------------------------------------------------------------------------------------- holds


def test_a_hold_before_the_answer_takes_no_talk_time() -> None:
    """Row 11: on hold in a queue for 60 s, then 30 s of talk."""
    script = call().started(0).held(1).resumed(61).answered(66).ended(96)
    assert recounted(script).counted("actualTT", "holdTime") == (30, 60)


def test_of_a_hold_that_goes_on_over_the_answer_the_rest_takes_talk_time() -> None:
    """Held 10 to 40, answered at 30, ended at 100; and a second hold 90 to the end, and one after it."""
    script = call().started(0).held(10).answered(30).resumed(40).ended(100)
    assert recounted(script).counted("actualTT", "holdTime") == (60, 30)
    script.held(90).resumed(110).held(120).resumed(130)
    assert recounted(script).counted("actualTT", "holdTime", "avgHoldTime") == (50, 40, 40)


def test_holds_close_at_any_end() -> None:
    """The open hold of a call that a switch's restart ended closes there."""
    log = recounted(call().started(0, switchId="s1").answered(10).held(20))
    assert log.counted("holdTime", "actualTT") == (0, 0)
    log.take(event("switch.restarted", 50, None, switchId="s1"))
    assert log.counted("holdTime", "actualTT") == (30, 10)


def test_held_comes_before_resumed_of_the_same_time_and_id() -> None:
    """Row 21: whatever the order in the log, the hold is closed at once, and the next one opens."""
    pair = [{"id": "x", "ts": one["ts"], "type": one["type"], "userId": "u1", "callId": "c1"}
            for one in call().held(10).resumed(10).events]  # fmt: skip
    rest = call().started(0).answered(5).resumed(30).ended(60).events
    for events in permutations([*pair, rest[2]]):
        assert recounted(rest[0], rest[1], rest[3], *events).counted("holdTime", "actualTT") == (0, 55)
    for events in permutations([{**one, "id": name} for one, name in zip(pair, "ba", strict=True)]):
        assert recounted(*rest, *events).counted("holdTime") == (20,)  # resumed "a" comes before held "b"


def test_entered_comes_before_left_of_the_same_time_and_id() -> None:
    """Then by the IVR: of two that were entered at once, the later name is the current one."""
    entered, left = ({"id": "x", "ts": one["ts"], "type": one["type"], "userId": "u1", "callId": "c1", "ivrId": "a"}
                     for one in call().entered(1, "a").left(1, "a").events)  # fmt: skip
    for events in ([entered, left], [left, entered]):
        assert recounted(call().started(0), *events).counted("LIVR") == ({},)
    both = [entered, {**entered, "ivrId": "b"}]
    for events in (both, both[::-1]):
        assert recounted(call().started(0), *events).counted("LIVR") == ({"b": 1},)
