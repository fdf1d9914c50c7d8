"""The recount of a second call under the id of one that has ended: it is refused as a whole."""

from __future__ import annotations

import pytest

from tests.support.builders import CallScript, Event, call, event
from tests.unit.recount.recounted_log import HOUR_S, recounted

REUSED = [("call_id_reused", "callId")]
RESTARTED = event("switch.restarted", 60, None, switchId="A")


def named(at: float, *calls: str) -> Event:
    """A snapshot of switch A that names these calls."""
    return event("switch.snapshot", at, switchId="A", callIds=list(calls))


def first() -> CallScript:
    """The start of the first call."""
    return call().started(0, "IBD", switchId="A")


def test_nothing_of_a_second_call_after_a_restart_is_counted() -> None:
    """Row 7, and what the second call goes on with."""
    log = recounted(first(), RESTARTED)
    assert log.refused(call().started(70)) == REUSED
    second = call().ringing(72).answered(75).dtmf(80, "1").add("call.transferred", 82).held(83).ended(100)
    assert log.refused(second) == REUSED * 6
    assert log.counted("CST", "GHC", "CNC", "TRSC", "DTMF", "ringTime") == ({"-2": 1}, 1, 0, 0, {}, 0)
    assert log.recount.watermark == RESTARTED["ts"]


def test_nothing_of_a_second_call_after_a_real_end_is_counted() -> None:
    """It was in an IVR, rang and was forwarded; the first call is a ghost."""
    log = recounted(first().ended(10, 19))
    second = call().started(60).entered(61, "menu").dtmf(62, "5").ringing(63).add("call.forwarded", 64).ended(90)
    assert log.refused(second, second) == REUSED * 12
    assert log.counted("GHC", "MC", "FWC", "UC", "DTMF", "CST") == (1, 0, 0, 0, {}, {"19": 1})


@pytest.mark.parametrize("end", [call().ended(60), RESTARTED])
def test_what_happened_before_the_refused_start_is_of_the_first_call(end: CallScript | Event) -> None:
    """By its ts; the smallest one of several starts decides."""
    log = recounted(first(), end)
    assert log.refused(call().started(80), call().started(70), call().started(90)) == REUSED * 3
    assert log.refused(call().dtmf(70, "1")) == REUSED
    assert log.take(call().dtmf(69.999, "1")).counted("DTMF") == ({"1": 1},)


def test_a_live_call_takes_nothing_of_the_second() -> None:
    """The first call is live again, by an event of its own or a snapshot from before the refused start."""
    for sign in (call().heartbeat(69.999), named(69.999, "c1")):
        log = recounted(first(), RESTARTED)
        assert log.refused(call().started(70)) == REUSED
        assert log.take(named(70, "c1"), named(90, "c1")).counted("CST", "LCT") == ({"-2": 1}, {})
        assert log.take(sign).counted("CST", "LCT") == ({}, {"IBD": 1})
        assert log.refused(call().started(70), call().started(71), call().ended(90)) == REUSED * 3
        assert log.counted("CST", "LCT") == ({}, {"IBD": 1})


def test_a_silent_call_takes_nothing_of_the_second() -> None:
    """Also once an earlier event shows that it was not silent."""
    log = recounted(first())
    second = call().started(4 * HOUR_S).ringing(4 * HOUR_S + 1).ended(4 * HOUR_S + 9)
    assert log.refused(second) == log.take(call().ringing(HOUR_S)).refused(second) == REUSED * 3
    assert log.counted("LCT", "ringTime") == ({"IBD": 1}, 0)


def test_what_was_read_before_the_refused_start_stays() -> None:
    """And the starts that the call has may come again, whatever their time."""
    log = recounted(call().started(0).started(80), call().ended(60).dtmf(72, "1"))
    assert log.refused(call().started(70), call().dtmf(72, "1"), call().started(80).started(0)) == REUSED * 2
    assert log.counted("DTMF", "TC") == ({"1": 1}, 1)


def test_a_dropped_record_or_an_erased_account_has_no_refused_start() -> None:
    """Then another call begins."""
    tick = event("balance.updated", 960, "ticker", balance=0)
    for gone in (tick, event("account.erased", 90)):
        log = recounted(call().started(0).ended(60))
        assert log.refused(call().started(70)) == REUSED
        log.take(gone, call().started(960).ringing(961))
        assert log.counted("TC") == ((2,) if gone is tick else (1,))
