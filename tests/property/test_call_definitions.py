"""The finer definitions of calls, each against its own words: any times, order and duplication.

Every log is read by the state and by the recount, which must agree as well.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import T0_MS, CallScript, Event, LogRecord, call, encoded, event
from tests.support.state_and_recount import StateAndRecount

SHORT = st.integers(0, 9)
"""Times in s: few, so that some are equal."""


def told(events: list[Event], both: StateAndRecount | None = None) -> dict[str, Any]:
    """What is told of u1 after these events, which arrive in this order; state and recount must agree."""
    both = both or StateAndRecount()
    begin = len(both.log)
    both.take(*(LogRecord(begin + at, T0_MS + 10**9, encoded(one)) for at, one in enumerate(events)))
    assert both.differences(users=("u1",)) == []
    return dict(both.recount.answer("u1", 0, 4_000_000_000_000, ("actualTT", "holdTime", "UC", "FR_UC", "ringTime")))


def mixed(events: list[Event], shuffle: Any) -> list[Event]:
    """The events in another order, some of them twice."""
    more = [*events, *events[::3]]
    shuffle.shuffle(more)
    return more


shuffles = st.randoms(use_true_random=False)


# ---------------------------------------------------------------------------------------- ends of the system

system_log = st.lists(
    st.tuples(st.sampled_from(("heartbeat", "named", "restarted", "missing", "restarted", "missing", "ended")), SHORT),
    max_size=8,
)


@settings(max_examples=400)
@given(system_log)
def test_a_system_end_stands_until_something_later_is_heard(log: list[tuple[str, int]]) -> None:
    """It is given to a call that lives and was heard of no later; what is later lifts it; a real end replaces it."""
    events = [*call().started(0, switchId="s").events]
    heard, standing = 0, ""
    ends: list[int] = []
    for at, (what, ts) in enumerate(log):
        if what in ("restarted", "missing"):
            kind = "switch.restarted" if what == "restarted" else "switch.snapshot"
            events.append(event(kind, ts, switchId="s", callIds=[] if what == "missing" else None))
            if not standing and not ends and heard <= ts:
                standing, given_at = "-2" if what == "restarted" else "-3", ts
        elif what == "ended":
            ends.append(ts)
            heard = max(heard, ts)
            events.append({**event("call.ended", ts, callId="c1", status=3), "id": f"end{at}"})
        else:
            heard = max(heard, ts)
            named = event("switch.snapshot", ts, switchId="t", callIds=["c1"])
            events.append(named if what == "named" else event("call.heartbeat", ts, callId="c1"))
        if standing and heard > given_at:
            standing = ""
    message = told(events)
    assert message["CST"] == ({"3": 1} if ends else {standing: 1} if standing else {})
    assert message["LCT"] == ({} if ends or standing else {"CTC": 1})


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=6),
    st.sets(st.integers(0, 5)),
    st.sampled_from((1, 7_199, 7_200, 14_399, 14_400, 14_401, 90_000)),
    st.lists(st.sampled_from((1, 7_199, 7_200, 14_399, 14_400, 86_400)), max_size=5),
)
def test_a_snapshot_is_a_heartbeat_of_the_calls_with_a_record(
    calls: list[tuple[int, bool, bool]], named: set[int], at: int, later: list[int]
) -> None:
    """It does what a heartbeat of each of them would: started or not, on whatever switch; and makes no record."""
    begin: list[CallScript] = []
    for ts, started, ended in calls:
        one = call(f"c{len(begin)}")
        one = one.started(ts, switchId="s") if started else one.ringing(ts)
        begin.append(one.ended(ts + 1) if ended else one)
    first = [one for script in begin for one in script.events]
    snapshot, beats = StateAndRecount(), StateAndRecount()
    clock = event("balance.updated", at, "u1", balance=0)
    for both in (snapshot, beats):
        told([*first, clock], both)
    known = [f"c{n}" for n in sorted(named) if f"c{n}" in beats.recount.kept("u1")]
    ids = [f"c{n}" for n in sorted(named)]
    told([event("switch.snapshot", at, switchId="none", callIds=ids)], snapshot)
    told([event("call.heartbeat", at, callId=call_id) for call_id in known], beats)
    for step in later:
        at += step
        clock = event("balance.updated", at, "u1", balance=0)
        assert told([clock], snapshot) == told([clock], beats)
        assert snapshot.recount.kept("u1") == beats.recount.kept("u1")
        assert snapshot.recount.suspected("u1") == beats.recount.suspected("u1")


@settings(max_examples=300)
@given(
    st.sampled_from(("real", "restarted", "missing", "silent")), SHORT, st.integers(1, 20), st.booleans(), st.booleans()
)
def test_a_start_after_the_end_is_refused(how: str, end: int, again: int, same: bool, soon: bool) -> None:
    """A call.started of another id and later than the end is refused, and changes nothing; others are accepted."""
    events = call().started(0, switchId="s", campaignId=1).events
    later = again if soon else end + 14_400 + again
    if how == "silent":
        events += call().heartbeat(end).events
    elif how == "real":
        events += call().ended(end).events
    else:
        missing: list[str] | None = [] if how == "missing" else None
        kind = "switch.restarted" if how == "restarted" else "switch.snapshot"
        events.append(event(kind, end, switchId="s", callIds=missing))
    both = StateAndRecount()
    before = told(events, both)
    start = {**event("call.started", later, callId="c1", callType="OBD", campaignId=9), "id": "other"}
    after = told([events[0] if same else start], both)
    refused = not same and later > end and (how != "silent" or later - end >= 14_400)
    assert [reason for _, reason, _ in both.refused] == (["call_id_reused"] if refused else [])
    if same or refused:
        assert after == before
    assert after["CT"] == {"CTC": 1}


further_kinds = st.sampled_from(
    ("leg.ringing", "leg.answered", "dtmf.received", "call.held", "call.transferred", "call.heartbeat", "call.ended",
     "ivr.entered", "call.started", "switch.snapshot", "switch.restarted")
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.sampled_from(("call.ended", "switch.restarted", "switch.snapshot")),
    st.integers(1, 9),
    st.lists(st.tuples(further_kinds, SHORT), max_size=9),
    st.integers(0, 12),
)
def test_a_second_call_with_the_id_of_one_that_has_ended_changes_nothing(
    how: str, end: int, further: list[tuple[str, int]], crash: int
) -> None:
    """Its events are refused from its start on: it is as if they were not there, nor the snapshots that name it."""
    second = end + 2
    both, expected = StateAndRecount(), StateAndRecount()
    first = call().started(0, switchId="s", campaignId=1).events
    first.append(event(how, end, callId="c1", status=3, switchId="s", callIds=[]))
    told(first, both)
    told(first, expected)
    told([{**event("call.started", second, callId="c1", callType="OBD"), "id": "second"}], both)
    for at, (kind, ts) in enumerate(further):
        own: dict[str, Any] = {"callId": "c1", "callType": "OBD", "status": 16, "digits": "1", "ivrId": "menu"}
        if kind.startswith("switch."):
            own = {"switchId": "s", "callIds": ["c1"]}
        one = {**event(kind, 2 * ts, **own), "id": f"{at}"}
        if at == crash:
            both.crash()
        if 2 * ts < second or kind == "switch.restarted":
            told([one], expected)
        assert told([one], both) == told([], expected)
    refused = [kind for kind, ts in further if 2 * ts >= second and not kind.startswith("switch.")]
    assert len(both.refused) == 1 + len(refused) + len(expected.refused)


# ------------------------------------------------------------------------------------------------------- legs

leg_events = st.lists(
    st.tuples(st.sampled_from(("dialed", "ringing", "answered", "ended")), st.integers(1, 4), SHORT, st.integers(0, 1)),
    max_size=12,
)


def legs(drawn: list[tuple[str, int, int, int]], **own: Any) -> list[Event]:
    """The events of legs; ``own``: fields of all of them."""
    return [
        {**event(f"leg.{kind}", ts, callId="c1", legId=f"{leg}", retry=retry or None, **own), "id": f"{at}"}
        for at, (kind, leg, ts, retry) in enumerate(drawn)
    ]


@settings(max_examples=300)
@given(leg_events, st.sets(st.integers(1, 4)), st.none() | SHORT, shuffles)
def test_a_leg_that_ended_elsewhere_counts_nowhere(
    drawn: list[tuple[str, int, int, int]], elsewhere: set[int], end: int | None, shuffle: Any
) -> None:
    """A call with such legs equals the call without them."""
    frame = call().started(0).ended(end, by="caller").events if end is not None else call().started(0).events
    over = [
        {**one, "id": f"over{leg}"}
        for leg in elsewhere
        for one in call().add("leg.ended", leg, legId=f"{leg}", outcome="elsewhere").events
    ]
    others = [one for one in legs(drawn) if int(one["legId"]) not in elsewhere]
    assert told(mixed([*frame, *legs(drawn), *over], shuffle)) == told([*frame, *others])


@settings(max_examples=300)
@given(leg_events, SHORT, st.sampled_from(("caller", "callee")), shuffles)
def test_an_answer_after_the_end_is_none(
    drawn: list[tuple[str, int, int, int]], end: int, by: str, shuffle: Any
) -> None:
    """A call with late answers equals the call whose legs were dialed then."""
    frame = call().started(0).ended(end, 487, by).events
    no_answer = [
        {**one, "type": "leg.dialed"} if one["type"] == "leg.answered" and one["ts"] > T0_MS + end * 1000 else one
        for one in legs(drawn)
    ]
    assert told(mixed([*frame, *legs(drawn)], shuffle)) == told([*frame, *no_answer])


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from((0, 1, 4_999, 5_000, 5_001, 9_000)), max_size=3),
    st.lists(st.sampled_from((0, 1, 4_999, 5_000, 5_001, 9_000)), max_size=1),
    st.sampled_from((0, 1, 4_998, 4_999, 5_000, 5_001, 9_000, 9_999)),
    st.sampled_from(("caller", "callee", "system")),
    shuffles,
)
def test_a_quick_hang_up_is_of_the_caller_within_5_s(
    rings: list[int], answers: list[int], end: int, by: str, shuffle: Any
) -> None:
    """CHSR: the caller ended the call 0 to less than 5 s after the first ring, and no leg was answered by then."""
    script = call().started(0).ended(end / 1000, 487, by)
    for leg, ts in enumerate(rings):
        script.ringing(ts / 1000, f"{leg}")
    for ts in answers:
        script.answered(ts / 1000, "0")
    answered = any(ts <= end for ts in answers)
    quick = bool(rings) and by == "caller" and not answered and 0 <= end - min(rings) < 5_000
    message = told(mixed(script.events, shuffle))
    assert (message["CHSR"], message["CNC"]) == (int(quick), int(answered))


# ------------------------------------------------------------------------------------------------------ holds


@settings(max_examples=400)
@given(
    st.lists(st.tuples(SHORT, st.sampled_from("ab"), st.sampled_from(("call.held", "call.resumed"))), max_size=8),
    st.none() | SHORT,
    st.none() | SHORT,
    shuffles,
)
def test_holds_are_pairs_and_talk_is_what_is_left(
    drawn: list[tuple[int, str, str]], answer: int | None, end: int | None, shuffle: Any
) -> None:
    """Sorted by (ts, id, type), a hold closes a pair; of talk, only what lies on hold after the answer is lost."""
    script: CallScript = call().started(0)
    events = [{**event(kind, ts, callId="c1"), "id": event_id} for ts, event_id, kind in drawn]
    events += script.answered(answer).events if answer is not None else script.events
    events += call().ended(end).events if end is not None else []
    pairs: list[tuple[int, int]] = []
    opened: int | None = None
    for ts, _, kind in sorted(set(drawn)):
        if kind == "call.held":
            opened = ts if opened is None else opened
        elif opened is not None:
            pairs.append((opened, ts))
            opened = None
    if end is not None:
        pairs += [(opened, end)] if opened is not None else []
        pairs = [(begin, min(close, end)) for begin, close in pairs if begin <= end]
    message = told(mixed(events, shuffle))
    assert message["holdTime"] == sum(close - begin for begin, close in pairs)
    if end is None or answer is None or answer > end:
        assert message["actualTT"] == 0
    else:
        lost = sum(max(0, close - max(begin, answer)) for begin, close in pairs)
        assert message["actualTT"] == max(0, end - answer - lost)
