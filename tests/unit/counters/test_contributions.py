"""Each definition of a counter, with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ecounters.counters.definitions import FIELDS
from tests.support.builders import CallScript, Feed, call, event


def counted(*scripts: CallScript) -> dict[str, Any]:
    """What is counted of the calls, of all that is not 0 or empty."""
    counters = Feed().take(*scripts).answer()
    return {key: value for key, value in counters.items() if value not in (0, {})}


def some(counters: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The entries of those keys."""
    return {key: counters[key] for key in keys if key in counters}


def test_a_live_call() -> None:
    """Gauges by type, campaign, DID and IVR; the totals count it too, but not by status."""
    counters = counted(call().started(0, "IBD", campaignId=7, did="1800", number="+15550001111").entered(1, "menu"))
    assert counters == {
        "LCT": {"IBD": 1}, "RCMPID": {"7": 1}, "RC": 1, "LIVR": {"menu": 1}, "LDID": {"1800": 1},
        "CT": {"IBD": 1}, "CMPID": {"7": 1}, "DID": {"1800": 1}, "TC": 1, "freshCall": 1,
    }  # fmt: skip


def test_gauges_let_an_ended_call_go() -> None:
    """LCT, RCMPID, RC, LIVR and LDID are of live calls; a call that left its IVR is in none."""
    ended = call("c1").started(0, "IBD", campaignId=7, did="1800").entered(1, "menu").ended(9, 16)
    left = call("c2").started(0, "OBD", campaignId=-1).entered(1, "menu").left(2, "menu")
    plain = call("c3").started(0, "OBD", campaignId=0)
    counters = counted(ended, left, plain)
    assert some(counters, "LCT", "RCMPID", "RC", "LIVR", "LDID") == {"LCT": {"OBD": 2}, "RCMPID": {"-1": 1}, "RC": 1}
    assert some(counters, "CT", "CMPID", "DID", "CST") == {
        "CT": {"IBD": 1, "OBD": 2}, "CMPID": {"-1": 1, "7": 1}, "DID": {"1800": 1}, "CST": {"16": 1},
    }  # fmt: skip


def test_a_call_without_its_start_counts_nowhere() -> None:
    """Until a call.started is seen the record waits, whatever else is known."""
    waits = call().ringing(1).answered(2).entered(3, "menu").dtmf(3, "1").held(4).resumed(5).ended(9, 16)
    assert counted(waits) == {}
    assert counted(waits.started(0))["TC"] == 1


def test_statuses() -> None:
    """Ended calls by status: 0 and below 0 are statuses like any other."""
    scripts = [call(f"c{at}").started(0).ended(1, status) for at, status in enumerate((0, 0, -7, 200))]
    assert counted(*scripts)["CST"] == {"-7": 1, "0": 2, "200": 1}


def test_inputs() -> None:
    """By what was pressed, valid or not, and by the IVR that the input itself names."""
    script = call().started(0).entered(1, "menu").dtmf(2, "1", ivr="menu").dtmf(3, "1", valid=False, ivr="menu")
    counters = counted(script.dtmf(4, "*9").dtmf(5, "1").dtmf(6, "#", valid=False))
    assert some(counters, "DTMF", "DTMFV", "DTMFI", "DTMFINV") == {
        "DTMF": {"1": 3, "#": 1, "*9": 1}, "DTMFV": {"1": 2, "*9": 1},
        "DTMFI": {"menu": 2}, "DTMFINV": {"1": 1, "#": 1},
    }  # fmt: skip


def test_digits_and_ivrs_may_look_like_a_slot() -> None:
    """What callers press is data: a slash or a counter's name in it leads to no other counter."""
    counters = counted(call().started(0).dtmf(1, "V/1", ivr="/DTMF/2").dtmf(2, "TC").dtmf(3, "/"))
    assert some(counters, "TC", "DTMF", "DTMFV", "DTMFI") == {
        "TC": 1, "DTMF": {"/": 1, "TC": 1, "V/1": 1}, "DTMFV": {"/": 1, "TC": 1, "V/1": 1}, "DTMFI": {"/DTMF/2": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (call().started(0), "open"),
        (call().started(0).ringing(1), "open"),
        (call().started(0).ringing(1).leg_ended(2), "open"),
        (call().started(0).answered(2), "CNC"),
        (call().started(0).ringing(1).answered(2).ended(9), "CNC"),
        (call().started(0).ringing(1, "1").answered(2, "2").ended(9), "CNC"),
        (call().started(0).ended(9), "GHC"),
        (call().started(0).dialed(1).ended(9), "GHC"),
        (call().started(0).dialed(1).leg_ended(2).ended(9), "GHC"),
        (call().started(0).left(1, "menu").ended(9), "GHC"),
        (call().started(0).dtmf(1, "5", ivr="menu").ended(9), "GHC"),
        (call().started(0).ringing(1).ended(9), "MC"),
        (call().started(0).entered(1, "menu").ended(9), "MC"),
        (call().started(0).entered(1, "menu").left(2, "menu").ended(9), "MC"),
        (call().started(0).dialed(1, "1").ringing(2, "2").ended(9), "MC"),
    ],
)
def test_a_calls_outcome(script: CallScript, outcome: str) -> None:
    """Answered, ghost, missed, or open: exactly one of them."""
    counters = counted(script)
    assert some(counters, "CNC", "GHC", "MC", "AC") == ({} if outcome == "open" else {outcome: 1}) | (
        {"AC": 1} if outcome == "CNC" else {}
    )


def test_transferred_and_forwarded_calls() -> None:
    """Calls are counted, not transfers, whatever else the calls are."""
    twice = call("c1").started(0).add("call.transferred", 1).add("call.transferred", 2)
    both = call("c2").started(0).add("call.transferred", 1, to="x").add("call.forwarded", 2, to="y").ended(3)
    assert some(counted(twice, both), "TRSC", "FWC") == {"TRSC": 2, "FWC": 1}


@pytest.mark.parametrize(
    ("script", "counts"),
    [
        (call().started(0).ringing(1).ended(5.999, by="caller"), True),
        (call().started(0).ringing(1).ended(6, by="caller"), False),
        (call().started(0).ringing(1).ended(5, by="callee"), False),
        (call().started(0).ringing(1).ended(5, by="system"), False),
        (call().started(0).ringing(1).ended(5), False),
        (call().started(0).ringing(1).answered(2).ended(5, by="caller"), False),
        (call().started(0).dialed(1).ended(5, by="caller"), False),
        (call().started(0).ringing(1, "1").ringing(8, "2").ended(9, by="caller"), False),
        (call().started(0).ringing(8, "2").ringing(5, "1").ended(9.999, by="caller"), True),
        (call().started(0).ringing(3).ended(3, by="caller"), True),
        (call().started(0).ringing(3).ended(2, by="caller"), False),
        (call().started(0).ringing(1, "1").leg_ended(2, "1", outcome="elsewhere").ended(3, by="caller"), False),
        (call().started(0).ringing(1).ended(5, by="caller").answered(5.05), True),
    ],
)
def test_calls_hung_up_soon_after_the_first_ring(script: CallScript, counts: bool) -> None:
    """CHSR: by the caller, unanswered, less than 5,000 ms after the first leg rang."""
    assert counted(script).get("CHSR", 0) == counts


def leg(script: CallScript, leg_id: str, what: str) -> CallScript:
    """Add a leg: Answered, Missed, Ghost or Open; in lower case it is a retry leg."""
    retry = 1 if what.islower() else None
    script.dialed(1, leg_id, retry)
    if what in "AaMm":
        script.ringing(2, leg_id)
    if what in "Aa":
        script.answered(3, leg_id)
    if what in "MmGg":
        script.leg_ended(4, leg_id)
    return script


@pytest.mark.parametrize(
    ("legs", "expected"),
    [
        ("O", ""),
        ("o", ""),
        ("A", "UC CA"),
        ("M", "UC CM"),
        ("G", "UC GH_UC"),
        ("AO", "UC CA"),
        ("AG", "UC CA"),
        ("MG", "UC CM"),
        ("MMO", "UC CM"),
        ("AM", "UC PM"),
        ("AMG", "UC PM"),
        ("GGO", "UC GH_UC"),
        ("AAA", "UC CA"),
        ("a", "UC CA FR_UC FR_CA FR_UC_N=1 FR_CA_N=1 FR_CAN_FR_PM_N=1"),
        ("m", "UC CM FR_UC FR_CM FR_UC_N=1 FR_CM_N=1"),
        ("g", "UC GH_UC FR_UC FR_GH_UC FR_UC_N=1 FR_GH_N=1"),
        ("Am", "UC PM FR_UC FR_CM FR_UC_N=1 FR_CM_N=1"),
        ("Ma", "UC PM FR_UC FR_CA FR_UC_N=1 FR_CA_N=1 FR_CAN_FR_PM_N=1"),
        ("Ag", "UC CA FR_UC FR_GH_UC FR_UC_N=1 FR_GH_N=1"),
        ("ag", "UC CA FR_UC FR_CA FR_UC_N=2 FR_CA_N=2 FR_GH_N=1 FR_CAN_FR_PM_N=2"),
        ("mgg", "UC CM FR_UC FR_CM FR_UC_N=3 FR_CM_N=3 FR_GH_N=2"),
        ("am", "UC PM FR_UC FR_PM FR_UC_N=2 FR_PM_N=2 FR_CAN_FR_PM_N=2"),
        ("amgo", "UC PM FR_UC FR_PM FR_UC_N=3 FR_PM_N=3 FR_GH_N=1 FR_CAN_FR_PM_N=3"),
        ("Mo", "UC CM"),
        ("go", "UC GH_UC FR_UC FR_GH_UC FR_UC_N=1 FR_GH_N=1"),
    ],
)
def test_classes_of_legs(legs: str, expected: str) -> None:
    """A call in UC is in exactly one class, and so it is when only its retry legs are looked at."""
    script = call().started(0)
    for at, what in enumerate(legs):
        leg(script, str(at), what)
    parts = [part.partition("=") for part in expected.split()]
    counters = counted(script)
    classes = [key for key in FIELDS if "Time" not in key and key not in ("AC", "actualTT", "TC", "MC")]
    assert some(counters, *classes) == {key: int(number or 1) for key, _, number in parts}


def test_the_end_of_the_call_closes_its_legs() -> None:
    """An open leg is missed or ghost once the call has ended."""
    script = call().started(0).ringing(1, "1").dialed(1, "2", retry=1).ended(4)
    counters = counted(script)
    assert some(counters, "UC", "CM", "FR_UC", "FR_GH_UC", "FR_GH_N") == dict.fromkeys(
        ("UC", "CM", "FR_UC", "FR_GH_UC", "FR_GH_N"), 1
    )


def test_a_leg_becomes_a_retry_leg_with_any_of_its_events() -> None:
    """The largest retry seen counts, whichever event has it; "1" and 1 are one leg."""
    script = call().started(0).dialed(1, "1").ringing(2, "1").add("leg.ended", 3, legId=1, retry="2")
    assert some(counted(script), "FR_UC", "FR_CM", "FR_CM_N") == {"FR_UC": 1, "FR_CM": 1, "FR_CM_N": 1}


@pytest.mark.parametrize(
    ("script", "total", "average"),
    [
        (call().started(0).ringing(1), 0, 0),
        (call().started(0).ringing(1).answered(3.5), 2.5, 2.5),
        (call().started(0).ringing(1).answered(3.5).leg_ended(2).ended(60), 2.5, 2.5),
        (call().started(0).ringing(1).leg_ended(4).ended(60), 3, 3),
        (call().started(0).ringing(1).ended(60), 59, 59),
        (call().started(0).answered(3).ended(60), 0, 0),
        (call().started(0).ringing(5).answered(3), 0, 0),
        (call().started(0).ringing(1, "1").answered(2, "1").ringing(1, "2").leg_ended(3.001, "2"), 3.001, 1.5),
        (call().started(0).ringing(1, "1").answered(2, "1").ringing(1, "2"), 1, 1),
        (call().started(0).ringing(0, "1").answered(1, "1").ringing(0, "2").answered(0, "2").ringing(0, "3")
         .answered(0, "3"), 1, 0.333),
    ],
)  # fmt: skip
def test_time_that_legs_rang(script: CallScript, total: float, average: float) -> None:
    """From ringing to answered, else to the leg's end, else to the call's; the average is over legs counted."""
    counters = counted(script)
    assert (counters.get("ringTime", 0), counters.get("avgRingTime", 0)) == (total, average)


@pytest.mark.parametrize(
    ("script", "total", "average"),
    [
        (call().started(0).held(1), 0, 0),
        (call().started(0).resumed(1).ended(9), 0, 0),
        (call().started(0).held(1).resumed(4), 3, 3),
        (call().started(0).held(1).held(2).resumed(4).resumed(5), 3, 3),
        (call().started(0).held(1).resumed(2).held(5).resumed(5.5), 1.5, 1.5),
        (call().started(0).held(1).ended(9), 8, 8),
        (call().started(0).held(1).resumed(2).held(5), 1, 1),
        (call().started(0).held(10).ended(9), 0, 0),
        (call().started(0).ended(9).held(8).resumed(12), 1, 1),
        (call().started(0).ended(9).held(8).resumed(12).held(13), 1, 1),
    ],
)
def test_time_on_hold(script: CallScript, total: float, average: float) -> None:
    """Closed intervals; one that is open at the call's end closes there."""
    counters = counted(script)
    assert (counters.get("holdTime", 0), counters.get("avgHoldTime", 0)) == (total, average)


def test_the_average_hold_is_over_calls_that_were_on_hold() -> None:
    """Two intervals of one call are one call; an interval of no length counts, an open one does not."""
    held = call("c1").started(0).held(1).resumed(2).held(3).resumed(5)
    at_once = call("c2").started(0).held(1).ended(1)
    still = call("c3").started(0).held(1)
    too_late = call("c5").started(0).held(10).ended(9)
    counters = counted(held, at_once, still, call("c4").started(0), too_late)
    assert (counters["holdTime"], counters["avgHoldTime"]) == (3, 1.5)


@pytest.mark.parametrize(
    ("script", "total"),
    [
        (call().started(0).answered(5), 0),
        (call().started(0).answered(5).ended(65), 60),
        (call().started(0).answered(5, "1").answered(4, "2").ended(65), 61),
        (call().started(0).answered(5).held(10).resumed(20.25).ended(65), 49.75),
        (call().started(0).answered(5).held(60).ended(65), 55),
        (call().started(0).answered(5).held(1).resumed(64).ended(65), 1),
        (call().started(0).held(1).resumed(61).answered(66).ended(96), 30),
        (call().started(0).held(1).resumed(61).answered(66).held(70).ended(96), 4),
        (call().started(0).answered(5).ended(3), 0),
        (call().started(0).answered(5).held(10).ended(20).resumed(40), 5),
        (call().started(0).ringing(1).ended(65), 0),
    ],
)
def test_time_talked(script: CallScript, total: float) -> None:
    """Ended and answered: from the first answer to the end, less the time on hold, not below 0."""
    counters = counted(script)
    assert (counters.get("actualTT", 0), counters.get("avgTalkTime", 0)) == (total, total)


def test_the_average_talk_counts_calls_of_no_length_too() -> None:
    """10 s, 0 s and 0.001 s make 3.334 s on average; a live call is not counted yet."""
    scripts = [call(f"c{at}").started(0).answered(5).ended(5 + took) for at, took in enumerate((10, 0, 0.001))]
    counters = counted(*scripts, call("live").started(0).answered(1))
    assert (counters["actualTT"], counters["avgTalkTime"]) == (10.001, 3.334)


@pytest.mark.parametrize(
    ("starts", "repeats"),
    [((0,), 0), ((0, 86_400), 1), ((0, 86_400.001), 0), ((0, -86_400), 1), ((0, 10, 20), 2), ((0, 90_000, 91_000), 1)],
)
def test_repeat_and_fresh(starts: tuple[float, ...], repeats: int) -> None:
    """A number seen at most 24 hours away, in either direction, makes a repeat."""
    feed = Feed()
    for at in range(len(starts)):  # so that no start is of an unknown call and late
        feed.take(call(f"c{at}").heartbeat(0))
    for at, start in enumerate(starts):
        feed.take(call(f"c{at}").started(start, number="+15550001111"))
    counters = feed.answer()
    assert (counters["repeatCall"], counters["freshCall"]) == (repeats, len(starts) - repeats)


def test_repeat_and_fresh_are_by_user_and_number() -> None:
    """Another user's calls and other numbers say nothing; a call without a number is neither."""
    scripts = [
        call("c1").started(0, number="+15550001111"),
        call("c2").started(1, number="+15550002222"),
        call("c3").started(2),
        call("c4").started(3, number=""),
        call("c1", "u2").started(4, number="+15550001111"),
    ]
    assert some(counted(*scripts), "TC", "freshCall", "repeatCall") == {"TC": 4, "freshCall": 2}


def test_balances() -> None:
    """The last balance and callBalance, each by its own event; 0 before one; whole values print whole."""
    feed = Feed().take(event("balance.updated", 5, balance=12.0, callBalance="3.25"))
    feed.take(event("balance.updated", 9, balance=-1.5))
    assert (feed.answer()["ucBl"], feed.answer()["cBl"]) == (-1.5, 3.25)
    assert str(Feed().take(event("balance.updated", 5, balance=12.0)).answer()["ucBl"]) == "12"
