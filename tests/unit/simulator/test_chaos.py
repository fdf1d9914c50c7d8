"""Made-up trouble: within its bound, of the shares that were asked for, and refused where it is meant to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, fields, replace
from itertools import islice, pairwise, takewhile
from typing import Any

import orjson
import pytest

from ecounters.errors import BadEvent
from ecounters.events.parse import parse
from ecounters.events.types import TS_MAX_MS
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.simulator.chaos import (
    BREAKS,
    FAR_AHEAD_END_MS,
    FAR_AHEAD_MS,
    JITTER_MS,
    LATENESS_MAX_MS,
    LINGER_MS,
    SKEW_MAX_MS,
    ChaosShares,
)
from ecounters.simulator.world import Plan, Published, simulate
from tests.support.builders import T0_MS, LogRecord

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NONE = ChaosShares(**dict.fromkeys((field.name for field in fields(ChaosShares)), 0.0))
HARMLESS = replace(ChaosShares(), broken=0, late=0, far_ahead=0, reused=0, erased=0)


def made(shares: ChaosShares, events: int = 40_000, *, lateness_ms: int = 600_000, rate: float = 2) -> list[Published]:
    """The first messages of a plan with such chaos."""
    plan = Plan(
        start_ms=T0_MS, users=3, rate_per_s=rate, day_shape=False, chaos=True, lateness_ms=lateness_ms, shares=shares
    )
    return list(islice(simulate(plan), events))


def refusals(messages: list[Published]) -> Counter[str]:
    """How many of them are refused, by reason, on one partition that has them all."""
    state = PartitionState(0, 1, Policy())
    records = [LogRecord(at, one.at_ms, one.value) for at, one in enumerate(messages)]
    reasons: Counter[str] = Counter()
    for record in records:
        reasons.update(one.reason for one in state.apply([record], record.timestamp))
        state.advance(0, at_end=False)
    return reasons


def delays(messages: list[Published]) -> list[int]:
    """How long after its ts each is published."""
    return [one.at_ms - parse(one.value).ts for one in messages]


def test_the_bounds_go_with_the_policy() -> None:
    """The bounds of disorder are below what the domain takes."""
    policy = Policy()
    assert policy.linger_ms == LINGER_MS > LATENESS_MAX_MS
    assert policy.clock_ahead_ms > SKEW_MAX_MS
    assert TS_MAX_MS - 1 == FAR_AHEAD_END_MS
    assert min(FAR_AHEAD_MS) > policy.clock_ahead_ms


@pytest.mark.parametrize("lateness_ms", [0, 1_000, 600_000, LATENESS_MAX_MS])
def test_harmless_chaos_keeps_its_bound_and_is_never_refused(lateness_ms: int) -> None:
    """Delays, duplicates, losses and clocks a little ahead: nothing is late, for any bound below the linger."""
    shares = replace(HARMLESS, delayed=0.3, duplicated=0.2, skewed=0.3)
    messages = made(shares, lateness_ms=lateness_ms, rate=0.5)
    assert messages[-1].at_ms - T0_MS > 4 * LINGER_MS
    seen = delays(messages)
    assert -SKEW_MAX_MS <= min(seen) < 0
    assert 0.9 * lateness_ms <= max(seen) <= lateness_ms
    assert refusals(messages) == {}


def test_messages_come_in_order_however_bad_they_are() -> None:
    """The time of publishing never decreases, for each trouble is of the event and not of the log."""
    messages = made(ChaosShares(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5))
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(messages))


def test_all_that_is_bad_is_refused_by_its_reason() -> None:
    """By default, every reason that a switch can give is given, seldom."""
    reasons = refusals(made(ChaosShares(), 100_000))
    assert set(reasons) == {
        "not_json", "not_object", "unknown_type", "missing", "wrong_type", "empty_id", "bad_ts", "clock_ahead", "late",
        "call_id_reused",
    }  # fmt: skip
    assert 0.0005 < reasons.total() / 100_000 < 0.005


def test_no_shares_are_no_chaos() -> None:
    """With each share at 0, it is as without chaos: in time, once, and nothing missing."""
    messages = made(NONE)
    assert set(delays(messages)) == {0}
    assert len({orjson.loads(one.value)["id"] for one in messages}) == len(messages)


def test_duplicates_are_the_same_bytes() -> None:
    """As many as were asked for, some soon and some long after."""
    messages = made(replace(NONE, duplicated=0.1))
    first: dict[bytes, int] = {}
    again = []
    for one in messages:
        if one.value in first:
            again.append(one.at_ms - first[one.value])
        else:
            first[one.value] = one.at_ms
    assert 0.08 < len(again) / len(first) < 0.12
    assert max(again) > 5 * MINUTE_MS
    assert sum(gap <= JITTER_MS for gap in again) > len(again) / 3
    assert len({orjson.loads(value)["id"] for value in first}) == len(first)


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_ends_are_lost(share: float) -> None:
    """About that share of the calls never end, however long one waits."""
    plan = Plan(
        start_ms=T0_MS,
        rate_per_s=0.5,
        day_shape=False,
        restarts=False,
        chaos=True,
        shares=replace(NONE, lost_end=share),
    )
    early, ended = set(), set()
    for one in takewhile(lambda one: one.at_ms < T0_MS + 4 * HOUR_MS, simulate(plan)):
        event: Any = parse(one.value)
        if event.type == "call.started" and one.at_ms < T0_MS + HOUR_MS:
            early.add(event.call_id)
        elif event.type == "call.ended":
            ended.add(event.call_id)
    assert 0.6 * share < len(early - ended) / len(early) < 1.4 * share


def test_ids_of_calls_are_used_again() -> None:
    """About that share of the calls have the id of a call of their user that is over."""
    starts: dict[tuple[str, str], list[int]] = {}
    over: dict[tuple[str, str], int] = {}
    for one in made(replace(NONE, reused=0.05), 100_000):
        event: Any = parse(one.value)
        if event.type == "call.started":
            key = event.user_id, event.call_id
            starts.setdefault(key, []).append(event.ts)
            assert len(starts[key]) == 1 or over[key] < event.ts
        elif event.type == "call.ended":
            over[event.user_id, event.call_id] = event.ts
    calls = sum(map(len, starts.values()))
    assert 0.01 < (calls - len(starts)) / calls < 0.06


def test_the_last_account_is_erased() -> None:
    """Its calls are followed by erasures, about that share; no other account is erased, nor a single one."""
    shares = replace(NONE, erased=0.1)
    events = [orjson.loads(one.value) for one in made(shares, 60_000)]
    erased = [raw["userId"] for raw in events if raw["type"] == "account.erased"]
    calls = sum(raw["type"] == "call.started" and raw["userId"] == "u3" for raw in events)
    assert set(erased) == {"u3"} and 0.06 < len(erased) / calls < 0.14
    alone = Plan(start_ms=T0_MS, users=1, chaos=True, shares=shares)
    assert not any(b"account.erased" in one.value for one in islice(simulate(alone), 10_000))


def test_events_are_lost() -> None:
    """Gaps in the numbers of the events: about that share of them."""
    ids = sorted(int(orjson.loads(one.value)["id"][1:], 16) for one in made(replace(NONE, lost=0.2)))
    half = [n for n in ids if n <= ids[len(ids) // 2]]
    assert 0.75 < len(half) / half[-1] < 0.85


def test_delays_and_jitter() -> None:
    """Delays are spread over the whole bound; jitter is short and mostly very short."""
    late = [delay for delay in delays(made(replace(NONE, delayed=0.3))) if delay]
    assert 4 * MINUTE_MS < sum(late) / len(late) < 6 * MINUTE_MS
    short = sorted(delays(made(replace(NONE, jitter=1.0))))
    assert short[0] == 0 and short[-1] < JITTER_MS
    assert short[len(short) // 2] < 1_000


def test_skew_is_of_a_whole_call() -> None:
    """A call is timed by one clock, which is ahead by up to 4 minutes, or right."""
    skews: dict[str, set[int]] = {}
    for one in made(replace(NONE, skewed=0.5)):
        event: Any = parse(one.value)
        if hasattr(event, "call_id"):
            skews.setdefault(event.call_id, set()).add(event.ts - one.at_ms)
    assert all(len(of_call) == 1 for of_call in skews.values())
    ahead = [min(of_call) for of_call in skews.values() if of_call != {0}]
    assert 0.4 < len(ahead) / len(skews) < 0.6
    assert min(ahead) > 0 and 3 * MINUTE_MS < max(ahead) <= SKEW_MAX_MS


def test_late_ones_are_beyond_the_linger() -> None:
    """16 to 60 minutes; refused unless the call still has a record."""
    messages = made(replace(NONE, late=0.05), rate=0.5)
    late = [delay for delay in delays(messages) if delay]
    assert min(late) >= 16 * MINUTE_MS and max(late) <= HOUR_MS
    assert 0 < refusals(messages)["late"] <= len(late)


def test_far_ahead_ones_are_refused_whenever_the_log_is_read() -> None:
    """Their clock is years ahead, so that a log that is published again weeks later is none the worse for it."""
    messages = made(replace(NONE, far_ahead=0.05))
    ahead = [-delay for delay in delays(messages) if delay]
    assert 0.04 < len(ahead) / len(messages) < 0.06
    assert min(ahead) >= min(FAR_AHEAD_MS) and max(ahead) <= max(FAR_AHEAD_MS)
    assert refusals(messages) == {"clock_ahead": len(ahead)}


def test_broken_ones_come_on_top() -> None:
    """All that was to be sent is sent, and each of the rest is refused."""
    messages = made(replace(NONE, broken=0.1))
    refused = refusals(messages)
    assert 0.08 < refused.total() / len(messages) < 0.12
    good = {orjson.loads(one.value)["id"] for one in messages if not _is_refused(one.value)}
    assert len(good) == len(messages) - refused.total()


def _is_refused(value: bytes) -> bool:
    try:
        parse(value)
    except BadEvent:
        return True
    return False


def test_each_way_to_break_breaks_every_type_of_event() -> None:
    """Whatever event it is made of, the result is refused, is one line, and is not empty."""
    messages = made(replace(NONE, erased=0.05), 100_000, rate=0.5)
    kinds = {orjson.loads(one.value)["type"]: one.value for one in messages}
    assert len(kinds) == 18
    for value in kinds.values():
        for at, make in enumerate(BREAKS):
            broken = make(value)
            assert broken.strip() == broken != b"" and b"\n" not in broken
            with pytest.raises(BadEvent):
                parse(broken)
                pytest.fail(f"way {at} leaves it whole: {broken!r}")


@pytest.mark.parametrize(
    "wrong", [{"lost": -0.1}, {"jitter": 1.1}, {"skewed": float("nan")}, {"delayed": 0.6, "late": 0.6}]
)
def test_what_is_no_share_is_refused(wrong: dict[str, float]) -> None:
    """Each is from 0 to 1, and those of which an event has one are not above 1 together."""
    with pytest.raises(ValueError, match="shares are from 0 to 1"):
        ChaosShares(**wrong)


def test_every_default_share_is_on_and_small() -> None:
    """Chaos has a bit of everything."""
    *troubles, jitter = astuple(ChaosShares())
    assert all(0 < share <= 0.05 for share in troubles) and jitter == 1
