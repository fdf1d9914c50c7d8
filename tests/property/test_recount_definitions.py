"""State and recount on logs that are made for one definition each: ends by a switch, large calls, old balances."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.partition.policy import Policy
from ecounters.recount.call import Limits
from tests.support.builders import T0_MS, Event, LogRecord, answer_of, encoded
from tests.support.state_and_recount import EVERYTHING, StateAndRecount

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ONE_USER = ("u1",)


def records(log: list[Event], at: int) -> list[LogRecord]:
    """These events as records that arrive when the latest of them happens, from offset ``at`` on."""
    return [LogRecord(at + n, 0, encoded(one)) for n, one in enumerate(log)]


# ---------------------------------------------------------------------------------------------- ends by a switch

steps_ms = st.sampled_from((0, 0, 1, 1_000, HOUR_MS, 2 * HOUR_MS, 4 * HOUR_MS - 1, 4 * HOUR_MS, DAY_MS - 1, DAY_MS))
backs_ms = st.sampled_from((0, 0, 0, 0, 1, 1_000, 15 * MINUTE_MS - 1, HOUR_MS, 4 * HOUR_MS))
SWITCH_KINDS = (
    "call.started", "call.started", "call.heartbeat", "call.heartbeat", "leg.answered", "call.ended",
    "switch.restarted", "switch.snapshot", "switch.snapshot", "switch.snapshot", "balance.updated",
)  # fmt: skip
of_a_switch = st.tuples(st.sampled_from(SWITCH_KINDS), st.integers(0, 2), steps_ms, backs_ms, st.integers(0, 10**4))


def made(kind: str, call: int, ts: int, pick: int, event_id: str) -> Event:
    """An event of one of three calls, or of one of two switches."""
    event: Event = {"type": kind, "id": event_id, "ts": ts, "userId": "u1"}
    switch = {"switchId": ("s1", "s2")[pick % 5 // 4]}
    own: dict[str, dict[str, Any]] = {
        "call.started": {"callType": "IBD", "number": ("1", "2")[pick % 2], **switch},
        "call.ended": {"status": 16},
        "balance.updated": {"balance": pick},
        "switch.restarted": switch,
        "switch.snapshot": {"callIds": [f"c{n}" for n in range(3) if pick >> n & 1], **switch},
    }
    event |= own.get(kind, {})
    if kind == "switch.restarted" and pick % 3:
        del event["userId"]
    return event if kind.startswith(("switch.", "balance.")) else {**event, "callId": f"c{call}"}


@settings(max_examples=600)
@given(st.lists(of_a_switch, min_size=3, max_size=30), st.integers(1, 8), st.booleans())
def test_ends_by_a_switch_equal_the_recount(
    drawn: list[tuple[str, int, int, int, int]], often: int, same_ids: bool
) -> None:
    """Restarts, snapshots and what is heard around them, with calls whose id is used again."""
    both, now = StateAndRecount(), T0_MS
    for at, (kind, call, step, back, pick) in enumerate(drawn):
        now += step
        event_id = f"{pick % 3}" if same_ids else f"{at}"
        both.take(LogRecord(at, 0, encoded(made(kind, call, now - back, pick, event_id))))
        if pick % often == 0:
            assert both.differences(users=ONE_USER) == []
        if pick % (often + 3) == 0:
            both.crash()
    assert both.differences(users=ONE_USER) == []
    assert both.differences(users=ONE_USER, wall_ms=now + often * HOUR_MS) == []


# -------------------------------------------------------------------------------------------------- large calls

FAMILIES = (
    ("leg.dialed", "leg.ringing", "leg.answered", "leg.ended"), ("dtmf.received",), ("call.held", "call.resumed"),
    ("ivr.entered", "ivr.left"),
)  # fmt: skip
ends_at = st.none() | st.sampled_from((0, 1, 500, 2_000, 9_999))


def of_family(family: int, pick: int, largest: int) -> Event:
    """An event of the call c0, of up to ``largest`` different ones of a family."""
    which = pick % largest
    kinds = FAMILIES[family]
    kind = kinds[pick // largest % len(kinds)]
    event: Event = {"type": kind, "id": f"{which % 7}", "ts": T0_MS + which * 7, "userId": "u1", "callId": "c0"}
    if kind.startswith("leg."):
        event |= {"legId": f"{which}", "retry": pick % 5 // 3}
        if pick % 11 < 2:
            event["outcome"] = "elsewhere"
    elif kind == "dtmf.received":
        event |= {"id": f"{which}", "digits": ("1", "2", "#", "12345")[pick % 4], "ts": T0_MS + pick % 9, "ivrId": "m"}
    elif kind.startswith("ivr."):
        event["ivrId"] = f"i{pick % 3}"
    return event


def call_of(family: int, picks: list[int], largest: int, end: int | None) -> list[Event]:
    """A call with these events of a family; it has ended ``end`` ms after its start, unless that is None."""
    start: Event = {"type": "call.started", "id": "s", "ts": T0_MS, "userId": "u1", "callId": "c0", "callType": "IBD"}
    log = [start, *(of_family(family, pick, largest) for pick in picks)]
    if end is not None:
        log.insert(len(log) // 2, {**start, "type": "call.ended", "id": "e", "ts": T0_MS + end, "status": 3})
    return log


@settings(max_examples=200)
@given(st.integers(0, 3), st.lists(st.integers(0, 10**4), min_size=12, max_size=60), ends_at, st.integers(1, 20))
def test_a_call_with_many_parts_equals_its_recount(family: int, picks: list[int], end: int | None, every: int) -> None:
    """Legs, inputs, holds or IVR entries around the number from which on they are saved one by one."""
    both = StateAndRecount()
    log = call_of(family, picks, 24, end)
    for at in range(0, len(log), every):
        both.take(*records(log[at : at + every], at))
        assert both.differences(users=ONE_USER) == []
        both.crash()
    assert both.differences(users=ONE_USER) == []


@settings(max_examples=40)
@given(st.integers(0, 3), st.randoms(use_true_random=False), st.integers(-2, 2), ends_at)
def test_a_call_with_too_many_parts_equals_its_recount(family: int, draw: Any, above: int, end: int | None) -> None:
    """Legs, inputs, holds or IVR entries around the most that a call may have, in any order, some of them twice."""
    both = StateAndRecount()
    largest = (200, 1000, 1000, 1000)[family] + above
    kinds = len(FAMILIES[family]) if family else 1
    picks = [which + largest * draw.randrange(kinds) for which in range(largest)]
    draw.shuffle(picks)
    log = call_of(family, [*picks, *picks[: largest // 4], *range(3)], largest, end)
    middle = len(log) - draw.randrange(1, largest // 2)
    both.take(*records(log[:middle], 0))
    both.crash()
    both.take(*records(log[middle:], middle))
    assert both.differences(users=ONE_USER) == []
    assert bool(both.recount.refused) == (above > 0 or bool(both.refused))


# ------------------------------------------------------------------------------------------------- old balances

days_ms = st.sampled_from(
    (0, 1, 15 * MINUTE_MS, 4 * HOUR_MS, DAY_MS - 15 * MINUTE_MS, DAY_MS, DAY_MS + 1, 28 * HOUR_MS)
)
ACCOUNT_KINDS = ("balance", "balance", "ticker", "ticker", "call.started", "call.ended", "leg.ringing")
late_ms = st.sampled_from((0, 0, 0, 1, HOUR_MS, DAY_MS, DAY_MS + 1))
of_an_account = st.tuples(st.sampled_from(ACCOUNT_KINDS), st.integers(0, 2), days_ms, late_ms, st.integers(0, 10**4))


def of_account(kind: str, call: int, ts: int, pick: int, event_id: str) -> Event:
    """A balance of u1 or of another account, or an event of a call of u1."""
    event: Event = {"id": event_id, "ts": ts, "userId": "ticker" if kind == "ticker" else "u1"}
    if kind in ("balance", "ticker"):
        return {**event, "type": "balance.updated", "balance": 1 + pick, "callBalance": (2, 3, None)[pick % 3]}
    own: dict[str, dict[str, Any]] = {"call.started": {"callType": "IBD"}, "call.ended": {"status": 1}}
    return {**event, "type": kind, "callId": f"c{call}", **own.get(kind, {})}


@settings(max_examples=600)
@given(st.lists(of_an_account, min_size=2, max_size=16), st.integers(1, 9))
def test_old_balances_equal_the_recount(drawn: list[tuple[str, int, int, int, int]], often: int) -> None:
    """Balances of an account with and without calls, where counts are kept for a day.

    Only balances are compared: the recount has no retention of counts.
    """
    both, now = StateAndRecount(policy=Policy(keep_days_ms=DAY_MS), limits=Limits(keep_days=DAY_MS)), T0_MS
    for at, (kind, call, step, back, pick) in enumerate(drawn):
        now += step
        both.take(LogRecord(at, 0, encoded(of_account(kind, call, now - back, pick, f"{at}"))))
        if pick % often == 0:
            counted, recounted = answer_of(both.state, "u1"), both.recount.answer("u1", *EVERYTHING)
            assert (counted["ucBl"], counted["cBl"]) == (recounted["ucBl"], recounted["cBl"]), at
        if pick % (often + 2) == 0:
            both.state.advance(0, at_end=False)
        if pick % (often + 5) == 0:
            both.crash()
