"""Ends that a switch gives: when a restart or a snapshot ends a call, what lifts the end, and what a snapshot keeps."""

from __future__ import annotations

import pytest

from tests.support.builders import Event, call, event
from tests.unit.recount.recounted_log import DAY_S, HOUR_S, Recounted, recounted


def snapshot(at: float, *call_ids: str, switch: str = "s1", user: str = "u1") -> Event:
    """A switch.snapshot that names these calls."""
    return event("switch.snapshot", at, user, switchId=switch, callIds=list(call_ids))


def restart(at: float, switch: str = "s1", user: str | None = None) -> Event:
    """A switch.restarted of all users, or of one."""
    return event("switch.restarted", at, user, switchId=switch)


def tick(at: float) -> Event:
    """An event of another user, which moves the watermark."""
    return event("balance.updated", at, "ticker", balance=0)


def live(at: float = 0, call_id: str = "c1") -> Recounted:
    """A log with one call of switch s1 that starts at ``at``."""
    return recounted(call(call_id).started(at, "IBD", switchId="s1"))


def test_a_snapshot_amid_a_calls_start_hides_it_until_it_is_heard_of() -> None:
    """Row 6: the snapshot ends the call that started 1 ms before; the answer after it lifts that end for good."""
    log = live(59.999).take(snapshot(60))
    assert log.counted("LCT", "CST") == ({}, {"-3": 1})
    log.take(call().answered(66))
    assert log.counted("LCT", "CST", "CNC") == ({"IBD": 1}, {}, 1)
    log.take(call().heartbeat(120), snapshot(180, "c1"))
    assert log.counted("LCT", "CST") == ({"IBD": 1}, {})


@pytest.mark.parametrize(
    ("given", "status"), [(snapshot(60), "-3"), (restart(60), "-2"), (restart(60, user="u1"), "-2")]
)
def test_an_end_stands_until_a_later_time_is_heard(given: Event, status: str) -> None:
    """An event of the end's ms does not lift it; one of the next ms does, and an older one changes nothing."""
    log = live().take(given, call().ringing(59), call().heartbeat(60))
    assert log.counted("LCT", "CST") == ({}, {status: 1})
    log.take(call().heartbeat(60.001))
    assert log.counted("LCT", "CST") == ({"IBD": 1}, {})
    log.take(call().dialed(30))
    assert log.counted("LCT", "CST") == ({"IBD": 1}, {})


def test_what_was_heard_before_the_snapshot_was_read_counts_as_well() -> None:
    """A snapshot that arrives after a later event of the call ends nothing; an event of its own ms does not save."""
    assert live().take(call().heartbeat(60.001), snapshot(60)).counted("CST") == ({},)
    assert live().take(call().heartbeat(60), snapshot(60)).counted("CST") == ({"-3": 1},)


def test_a_snapshot_that_names_the_call_lifts_the_end() -> None:
    """Its ts must be later than the end; the end is not given back by the next event."""
    log = live().take(restart(60), snapshot(60, "c1"))
    assert log.counted("CST") == ({"-2": 1},)
    log.take(snapshot(60.001, "c1"))
    assert log.counted("LCT", "CST") == ({"IBD": 1}, {})


def test_a_lifted_end_may_be_followed_by_another() -> None:
    """The second end counts from its own time, and is lifted as the first."""
    log = live().take(snapshot(60), call().heartbeat(61), restart(62))
    assert log.counted("CST") == ({"-2": 1},)
    assert log.take(call().heartbeat(63)).counted("CST") == ({},)


def test_a_call_that_has_an_end_gets_no_other() -> None:
    """A standing end stays, with its ts and status; a real end stays too, and replaces a standing one."""
    log = live().take(snapshot(60), restart(70), call().heartbeat(65))
    assert log.counted("LCT", "CST") == ({"IBD": 1}, {})  # 65 is after 60: the end at 70 was never given
    assert live().take(snapshot(60), restart(70)).counted("CST") == ({"-3": 1},)
    assert live().take(call().ended(50, 16), snapshot(60)).counted("CST") == ({"16": 1},)
    for at in (50, 60, 70):
        assert live().take(snapshot(60), call().ended(at, 16)).counted("CST", "LCT") == ({"16": 1}, {})


def test_which_calls_a_switch_ends() -> None:
    """Those of its switch and user that have started by then."""
    log = recounted(
        call("same-ms").started(60, "IBD", switchId="s1"), call("later").started(60.001, "OBD", switchId="s1"),
        call("other").started(0, "QC", switchId="s2"), call("none").started(0, "POOL"),
        call("waits").ringing(0), call("theirs", "u2").started(0, "CTC", switchId="s1"),
    )  # fmt: skip
    log.take(snapshot(60))
    assert log.counted("LCT", "CST") == ({"OBD": 1, "POOL": 1, "QC": 1}, {"-3": 1})
    assert log.counted("LCT", user="u2") == ({"CTC": 1},)
    log.take(restart(60))
    assert log.counted("CST", user="u2") == ({"-2": 1},)
    log.take(call("waits").started(0, "MASK", switchId="s1"))
    assert log.counted("LCT") == ({"MASK": 1, "OBD": 1, "POOL": 1, "QC": 1},)


def test_a_reaped_call_is_not_ended_again() -> None:
    """The snapshot's own time may show that the call has been silent for 4 hours."""
    assert live().take(snapshot(4 * HOUR_S - 0.001)).counted("CST") == ({"-3": 1},)
    log = live().take(snapshot(4 * HOUR_S))
    assert log.counted("CST") == ({"-1": 1},)
    assert log.take(call().heartbeat(1)).counted("CST") == ({},)  # it was reaped at 0, so 1 is news


# ------------------------------------------------------------------------------------- snapshots as heartbeats


def test_a_snapshot_is_a_heartbeat_of_the_calls_it_names() -> None:
    """Whatever their switch: they are neither suspected nor reaped, and a reaped one ends when it was named."""
    log = recounted(call("a").started(0, switchId="s2"), call("b").started(0), call("c").started(0, switchId="s2"))
    log.take(snapshot(HOUR_S, "a", "b"), tick(2 * HOUR_S))
    assert log.recount.suspected("u1") == 1
    log.take(tick(4 * HOUR_S))
    assert log.counted("LCT", "CST") == ({"CTC": 2}, {"-1": 1})
    log.take(call("a").answered(1), tick(5 * HOUR_S))
    assert log.counted("CST", "actualTT") == ({"-1": 3}, HOUR_S - 1)


def test_a_snapshot_that_comes_late_is_no_step_back() -> None:
    """The call was heard of after it."""
    log = live().take(call().heartbeat(2 * HOUR_S), snapshot(HOUR_S, "c1"), tick(4 * HOUR_S - 0.001))
    assert log.recount.suspected("u1") == 0
    assert log.take(tick(4 * HOUR_S)).recount.suspected("u1") == 1


def test_a_snapshot_is_a_heartbeat_of_a_call_that_waits_for_its_start() -> None:
    """Its record waits for 4 hours from there on. Ids without a record make none."""
    log = recounted(call("a").ringing(0), snapshot(HOUR_S, "a", "unknown"), tick(5 * HOUR_S - 0.001))
    assert log.recount.kept("u1") == ["a"]
    assert log.take(tick(5 * HOUR_S)).recount.kept("u1") == []


def test_a_snapshot_does_not_bring_back_a_record_that_is_due() -> None:
    """The watermark before it decides; with its own time alone the record is not due yet."""
    early = recounted(call("a").ringing(0), tick(4 * HOUR_S - 0.001), snapshot(4 * HOUR_S, "a"))
    assert early.recount.kept("u1") == ["a"]
    just_before = tick(4 * HOUR_S - 1)
    late = recounted(call("a").ringing(0), just_before, tick(4 * HOUR_S), snapshot(4 * HOUR_S, "a"))
    assert late.recount.kept("u1") == []
    assert late.refused(call("a").started(0)) == [("late", "ts")]


def test_how_long_a_record_is_kept_after_an_end_of_a_switch() -> None:
    """24 hours from an end that stands; from a lifted one as if it had never been; 15 minutes from a real one."""
    stands, lifted = live().take(snapshot(60)), live().take(snapshot(60), call().heartbeat(61))
    for log, until in ((stands, 60 + DAY_S), (lifted, 61 + 4 * HOUR_S + DAY_S)):
        assert log.take(tick(until - 0.001)).recount.kept("u1") == ["c1"]
        assert log.take(tick(until)).recount.kept("u1") == []
    assert lifted.counted("CST") == ({"-1": 1},)
    assert live().take(snapshot(60), call().ended(50), tick(50 + 900)).recount.kept("u1") == []
