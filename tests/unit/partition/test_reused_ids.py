"""PartitionState: a second call under the id of one that has ended is refused as a whole; the first stays as it is."""

from __future__ import annotations

from typing import Self

import pytest

from ecounters.changelog.entries import Entry
from tests.support.builders import CallScript, Event, Feed, call, event, kept, ms, picked, restored

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
MAX_CALL = 4 * HOUR
REUSED = [("call_id_reused", "callId")]


def restart(at: float) -> Event:
    """switch.restarted of the first call's switch."""
    return event("switch.restarted", at, None, switchId="A")


def snapshot(at: float, *calls: str, switch: str = "A") -> Event:
    """switch.snapshot: those calls are live."""
    return event("switch.snapshot", at, switchId=switch, callIds=list(calls))


def first() -> CallScript:
    """The start of the first call."""
    return call().started(0, "IBD", switchId="A")


def second() -> CallScript:
    """A whole second call with the id of the first, without its start: each type of event."""
    script = call().dialed(71).ringing(72).answered(75).entered(76, "menu").left(77, "menu").dtmf(80, "1").held(81)
    script.resumed(82).add("call.transferred", 82).add("call.forwarded", 83).leg_ended(84).heartbeat(85)
    return script.ended(100, 16)


class Partition(Feed):
    """A partition with its changelog."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []

    def saved(self) -> Self:
        """The partition after a restore."""
        self._entries += self.state.take_changes()
        self.state = restored(self._entries)
        return self


def test_nothing_of_a_second_call_after_a_restart_is_counted() -> None:
    """Row 7: the switch lost the first call, and began anew with its id."""
    feed = Partition().take(first(), restart(60))
    before = feed.answer()
    assert feed.refused(call().started(70, "OBD", switchId="A"), second()) == REUSED * 14
    assert feed.answer() == before
    assert picked(feed, "CST", "GHC", "CNC", "TRSC", "DTMF", "ringTime") == ({"-2": 1}, 1, 0, 0, {}, 0)
    assert feed.state.watermark == ms(60)
    assert feed.pass_time().answer() == before


def test_nothing_of_a_second_call_after_a_real_end_is_counted() -> None:
    """The first call has a call.ended; also after a restore, before and after which the second call comes again."""
    feed = Partition().take(first().ended(10, 19))
    before = feed.answer()
    assert before["GHC"] == 1
    for _ in range(3):
        assert feed.refused(call().started(60), call().entered(61, "menu").dtmf(62, "5").ringing(63)) == REUSED * 4
        assert feed.refused(call().add("call.forwarded", 64).ended(90)) == REUSED * 2
        assert feed.saved().answer() == before


@pytest.mark.parametrize("ends", [[first().ended(60)], [first(), restart(60)], [first(), snapshot(60)]])
@pytest.mark.parametrize("is_saved", [False, True])
def test_late_events_of_the_first_call_still_join_it(ends: list[CallScript | Event], is_saved: bool) -> None:
    """They are told by a ts before the refused start, by 1 ms; those of the start's own ms are of the second call."""
    feed = Partition().take(*ends)
    assert feed.refused(call().started(70)) == REUSED
    if is_saved:
        feed.saved()
    assert feed.refused(call().ringing(70), call().dtmf(70, "2")) == REUSED * 2
    feed.take(call().ringing(50).dtmf(69.999, "1"))
    assert picked(feed, "DTMF", "GHC") == ({"1": 1}, 0)
    assert feed.refused(call().ringing(70), call().dtmf(70, "2")) == REUSED * 2


@pytest.mark.parametrize("end", [restart(60), snapshot(60)])
@pytest.mark.parametrize("is_saved", [False, True])
def test_a_system_end_is_lifted_by_the_first_call_alone(end: Event, is_saved: bool) -> None:
    """An event of it from before the refused start lifts the end; the live call still takes nothing of the second."""
    feed = Partition().take(first(), end)
    assert feed.refused(call().started(70), second()) == REUSED * 14
    feed.take(call().heartbeat(65))
    if is_saved:
        feed.saved()
    before = feed.answer()
    assert (before["LCT"], before["CST"], before["GHC"]) == ({"IBD": 1}, {}, 0)
    assert feed.refused(call().started(70), call().started(75), second()) == REUSED * 15
    assert feed.answer() == before
    feed.take(call().ringing(66).ended(69, 17))
    assert picked(feed, "LCT", "CST", "MC") == ({}, {"17": 1}, 1)
    assert feed.refused(second()) == REUSED * 13


def test_a_live_call_with_a_refused_start_times_out_as_others_do() -> None:
    """Suspected and reaped by the clock, live again by an event of its own, and dropped by the watermark."""
    feed = Partition().take(first(), restart(60))
    feed.refused(call().started(70))
    feed.take(call().heartbeat(61), arrived=70).pass_time(70 + 2 * HOUR)
    user = feed.state.users["u1"]
    assert (user.suspected, len(feed.state.timeouts._reused_timers)) == (1, 1)
    feed.pass_time(70 + MAX_CALL)
    assert picked(feed, "CST") == ({"-1": 1},)
    feed.take(call().heartbeat(62), arrived=71).pass_time(72)
    assert (picked(feed, "LCT"), user.suspected) == (({"IBD": 1},), 0)
    assert kept(feed.clock(62 + MAX_CALL + DAY + MINUTE)) == []
    assert len(feed.state.timeouts._reused_timers) == 0


def test_a_silent_call_takes_nothing_of_the_second() -> None:
    """The start itself shows that the call is silent: no watermark has, and what is refused does not move it."""
    feed = Partition().take(first())
    ring, end = call().ringing(MAX_CALL + 1), call().ended(MAX_CALL + 9)
    assert feed.refused(call().started(MAX_CALL), ring, end) == REUSED * 3
    assert (feed.state.watermark, picked(feed, "LCT")) == (ms(0), ({"IBD": 1},))
    assert feed.saved().refused(ring, end) == REUSED * 2
    feed.take(call().ringing(HOUR))
    assert feed.refused(ring, end, call().started(MAX_CALL)) == REUSED * 3
    feed.take(call().ended(2 * HOUR, 3))
    assert picked(feed, "CST", "MC", "ringTime") == ({"3": 1}, 1, 3600)


def test_the_smallest_refused_start_counts() -> None:
    """Whatever comes first; and a start between the end and a refused one is refused too."""
    for order in ([80, 70, 90, 70], [90, 80, 70], [70, 80]):
        feed = Partition().take(first().ended(60))
        assert feed.refused(*(call().started(at) for at in order)) == REUSED * len(order)
        assert feed.refused(call().dtmf(70, "1")) == REUSED
        assert feed.take(call().dtmf(69.999, "1")).state.users["u1"].calls["c1"].reused_at == ms(70)


def test_starts_that_the_first_call_has_are_its_own() -> None:
    """They are told apart by their ids, also if they came later than the refused start by ts."""
    starts = call().started(80, campaignId=2).started(0)
    feed = Partition().take(starts, call().ended(60))
    assert feed.refused(call().started(70)) == REUSED
    before = feed.answer()
    for _ in range(2):
        assert feed.take(starts).answer() == before
        feed.saved()
    assert feed.refused(call().started(81)) == REUSED


def test_what_came_before_the_refused_start_stays_joined() -> None:
    """Whether an event is refused goes by what was read before it; it is not taken back."""
    feed = Partition().take(first().ended(60), call().dtmf(72, "1"))
    assert feed.refused(call().started(70), call().dtmf(72, "1"), call().dtmf(73, "1")) == REUSED * 3
    assert picked(feed, "DTMF") == ({"1": 1},)


def test_a_snapshot_that_names_the_second_call_says_nothing_of_the_first() -> None:
    """It neither lifts an end nor is a heartbeat nor ends; one from before the refused start is as it was."""
    feed = Partition().take(first(), restart(60))
    feed.refused(call().started(70))
    before = feed.answer()
    feed.take(snapshot(70, "c1"), snapshot(71, "c1", switch="B"))
    assert (feed.answer(), feed.state.users["u1"].calls["c1"].last_ts) == (before, ms(0))
    assert feed.saved().take(snapshot(72, "c1")).answer() == before
    feed.take(snapshot(69, "c1"))
    assert picked(feed, "LCT", "CST") == ({"IBD": 1}, {})
    feed.take(snapshot(80, "c1"))
    assert picked(feed, "LCT", "CST") == ({"IBD": 1}, {})
    assert feed.state.users["u1"].calls["c1"].last_ts == ms(69)
    feed.take(snapshot(90))
    assert picked(feed, "LCT", "CST") == ({}, {"-3": 1})


def test_a_dropped_record_forgets_the_refused_start() -> None:
    """A start begins another call then, and the events of the second call wait for a start that was refused."""
    feed = Partition().take(first().ended(60))
    assert feed.refused(call().started(70)) == REUSED
    feed.clock(60 + 16 * MINUTE)
    assert kept(feed) == []
    feed.take(call().ringing(61 + 16 * MINUTE))
    assert picked(feed, "TC", "GHC") == (1, 1)
    feed.take(call().started(60 + 16 * MINUTE, "OBD").answered(62 + 16 * MINUTE))
    assert picked(feed, "TC", "CNC", "CT") == (2, 1, {"IBD": 1, "OBD": 1})


def test_an_erased_account_forgets_the_refused_start() -> None:
    """Also that of a call that lives again: its timer goes too. What comes of the second call counts nowhere."""
    feed = Partition().take(first(), restart(60))
    feed.refused(call().started(70))
    feed.take(call().heartbeat(65), event("account.erased", 90), call().ringing(95)).pass_time()
    assert picked(feed, "TC", "LCT") == (0, {})
    assert len(feed.state.timeouts._reused_timers) == 0
    assert feed.take(call().started(96)).answer()["TC"] == 1
    assert feed.saved().answer()["TC"] == 1


def test_a_state_that_is_discarded_keeps_no_timer() -> None:
    """The wheel of live calls with a refused start is emptied too."""
    feed = Partition().take(first(), restart(60))
    feed.refused(call().started(70))
    state = feed.take(call().heartbeat(65)).state
    assert len(state.timeouts._reused_timers) == 1
    for _ in state.discarding():
        pass
    assert len(state.timeouts._reused_timers) == 0
