"""Switch events are applied in steps, by an index: their work does not grow with other switches' calls."""

from __future__ import annotations

import pytest

from ecounters.changelog.entries import POSITION
from ecounters.partition.policy import Policy
from ecounters.partition.records import Uncounted
from ecounters.partition.state import PartitionState
from tests.support.builders import Feed, LogRecord, call, encoded, event, ms, picked


def records(*events: dict[str, object]) -> list[LogRecord]:
    """The events as a log."""
    return [LogRecord(offset, ms(99), encoded(one)) for offset, one in enumerate(events)]


def test_a_switch_event_ends_many_calls_in_steps() -> None:
    """No step is long, and between two steps the state takes no other record."""
    starts = [call(f"c{n}").started(0, switchId="s").events[0] for n in range(1200)]
    log = records(*starts, event("switch.restarted", 60, None, switchId="s"), *call("d").started(61).events)
    state, uncounted = PartitionState(0, 1, Policy()), list[Uncounted]()
    steps = state.applying(log, ms(99), uncounted)
    for _ in range(2):
        next(steps)
    with pytest.raises(AssertionError, match="to its end"):
        state.apply(log, ms(99))
    assert len(list(steps)) == 23  # 12 to find the calls, and 12 to end them, but for one that was taken above
    feed = Feed()
    feed.state = state
    assert (picked(feed, "CST", "LCT"), state.position, uncounted) == (({"-2": 1200}, {"CTC": 1}), 1202, [])


def test_a_long_refused_value_is_a_step_of_its_own() -> None:
    """It is read twice, to find out what is wrong with it."""
    log = records(*call().started(0).events)
    log += [LogRecord(offset, ms(99), b"[" + b" " * 60_000 + b"]") for offset in range(1, 4)]
    state, uncounted = PartitionState(0, 1, Policy()), list[Uncounted]()
    assert len(list(state.applying(log, ms(99), uncounted))) == 3
    assert ([one.reason for one in uncounted], state.tally.accepted) == (["not_object"] * 3, 1)


def test_a_call_is_found_by_the_switch_of_its_present_start() -> None:
    """Wherever the call was before; one that ended, was dropped or erased is not found."""
    feed = Feed().take(call("c1").started(9, switchId="a"), call("c1").started(8, switchId="b"))
    index = feed.state.timeouts.live_by_switch
    assert [[found.id for found in index.calls(switch, None)] for switch in "ab"] == [[], ["c1"]]
    feed.take(call("c1").ended(10), call("c2").started(9, switchId="b"))
    assert [found.id for found in index.calls("b", "u1")] == ["c2"]
    feed.take(event("account.erased", 11))
    feed.take(event("switch.restarted", 12, None, switchId="b"))
    assert {key[:1] for key, value in feed.state.take_changes() if value is not None} == {POSITION}
    feed.pass_time()
    assert index._switches == {}


def test_a_log_that_comes_twice_tells_its_snapshots_again() -> None:
    """Ended calls stay. A live call that the log has behind the snapshot ends, until a later time is heard."""
    snapshot = event("switch.snapshot", 20, "u1", switchId="s", callIds=["c1"])
    log = [
        *call("c0").started(0, switchId="s").ringing(1).answered(2).ended(9).events,
        *call("c1").started(5, switchId="s").events,
        snapshot,
        *call("c2").started(15, switchId="s").events,
        *call("c3").started(16, switchId="s").add("call.heartbeat", 21).events,
    ]
    feed = Feed().take(*log)
    assert picked(feed, "TC", "CST", "LCT") == (4, {"16": 1}, {"CTC": 3})
    feed.take(*log)
    assert picked(feed, "TC", "CST", "LCT") == (4, {"16": 1, "-3": 1}, {"CTC": 2})
    feed.take(event("call.heartbeat", 30, "u1", callId="c2"))
    assert picked(feed, "TC", "CST", "LCT") == (4, {"16": 1}, {"CTC": 3})
