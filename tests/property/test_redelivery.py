"""An event that was accepted may come again: nothing changes. While its call has a record, it is not refused.

After that a call.started is late: else a call would be counted twice.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import ALL_FIELDS, T0_MS, Event, LogRecord, encoded
from tests.support.log_strategies import OF_NO_CALL, made_event
from tests.support.state_and_recount import EVERYTHING, StateAndRecount

USER: Final = "u1"
KINDS: Final = (
    "call.started", "call.started", "call.started", "leg.ringing", "leg.answered", "leg.ended", "ivr.entered",
    "ivr.left", "dtmf.received", "call.held", "call.resumed", "call.transferred", "call.heartbeat", "call.ended",
    "balance.updated", "switch.snapshot", "switch.restarted",
)  # fmt: skip
STEPS_MS: Final = (0, 0, 1, 1_000, 60_000, 15 * 60_000, 4 * 3_600_000)
BACK_MS: Final = (0, 0, 0, 1_000, 60_000, 14 * 60_000, -60_000)

steps = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(0, 1),
        st.sampled_from(STEPS_MS),
        st.sampled_from(BACK_MS),
        st.integers(0, 10**6),
        st.lists(st.integers(0, 100), max_size=3),
        st.booleans(),
    ),
    min_size=2,
    max_size=30,
)


def test_a_start_that_comes_again_after_its_call_was_dropped_is_late() -> None:
    """Also one that is later than the call's end, which was read after it."""
    both = StateAndRecount()
    start: Event = {"type": "call.started", "userId": USER, "callId": "c1", "callType": "IBD"}
    later = {**start, "id": "b", "ts": T0_MS + 600_000}
    events: list[Event] = [
        {**start, "id": "a", "ts": T0_MS},
        later,
        {"type": "call.ended", "userId": USER, "callId": "c1", "id": "e", "ts": T0_MS + 10_000, "status": 16},
        {**start, "id": "c", "ts": T0_MS + 950_000, "callId": "c2"},
    ]
    for one in events:
        assert take(both, one, one["ts"])
    assert take(both, later, T0_MS + 950_000)
    assert both.recount.answer(USER, *EVERYTHING, ALL_FIELDS)["TC"] == 2
    assert take(both, {**start, "id": "d", "ts": T0_MS + 1_550_000, "callId": "c3"}, T0_MS + 1_550_000)
    assert not take(both, later, T0_MS + 1_550_000)
    assert told(both)[0]["TC"] == 3


def told(both: StateAndRecount) -> tuple[Any, ...]:
    """What is told of the account by now; state and recount must agree."""
    assert both.differences(users=(USER,)) == []
    counters = both.recount.answer(USER, *EVERYTHING, ALL_FIELDS)
    return counters, both.recount.kept(USER), both.recount.suspected(USER), both.state.watermark, both.refused[:]


def take(both: StateAndRecount, one: Event, now: int) -> bool:
    """Append an event that arrives at ``now``; whether it was accepted."""
    refused = len(both.refused)
    both.take(LogRecord(len(both.log), now, encoded(one)))
    return len(both.refused) == refused


def refuses_starts_again(both: StateAndRecount, accepted: dict[str, list[Event]], now: int) -> None:
    """Assert that the starts of calls without a record are late, and change nothing."""
    before = told(both)
    for call_id, events in accepted.items():
        if call_id not in before[1]:
            for one in events:
                if one["type"] == "call.started":
                    assert not take(both, one, now), one
    assert told(both)[:4] == before[:4]


@settings(max_examples=300)
@given(steps)
def test_an_accepted_event_may_come_again(drawn: list[tuple[str, int, int, int, int, list[int], bool]]) -> None:
    """Also one more start of a call that lived then and has ended since; also after a restore."""
    both, now = StateAndRecount(), T0_MS
    accepted: dict[str, list[Event]] = {}
    for at, (kind, call, step, back, pick, again, crash) in enumerate(drawn):
        now += step
        one = made_event(kind, call, 0, now - back, pick, f"e{at}")
        known = set(both.recount.kept(USER))
        if take(both, one, now) and not kind.startswith(OF_NO_CALL):
            if one["callId"] not in known:  # the record is a new one
                accepted[one["callId"]] = []
            accepted[one["callId"]].append(one)
        if crash:
            both.crash()
        refuses_starts_again(both, accepted, now)
        before = told(both)
        for which in again:
            candidates = [one for kept in before[1] for one in accepted.get(kept, [])]
            if candidates:
                assert take(both, candidates[which % len(candidates)], now)
                assert told(both) == before
