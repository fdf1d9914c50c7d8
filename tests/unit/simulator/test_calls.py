"""Simulated calls: like those of a platform, in their outcomes, their lengths and their legs."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest

from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from tests.support.builders import T0_MS, LogRecord, answer_of
from tests.support.counter_identities import check_identities
from tests.support.simulated import USERS, Seen

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


@pytest.fixture(scope="module")
def told(log: list[Seen]) -> list[dict[str, Any]]:
    """What the counters say of each user, after the last event."""
    state = PartitionState(0, 1, Policy())
    records = [LogRecord(at, one.published.at_ms, one.published.value) for at, one in enumerate(log)]
    assert state.apply(records, log[-1].published.at_ms) == []
    state.advance(0, at_end=False)
    return [answer_of(state, f"u{n + 1}") for n in range(USERS)]


def test_outcomes_are_like_those_of_a_platform(told: list[dict[str, Any]]) -> None:
    """Most calls are answered, some missed, few are ghosts or hung up at once."""
    calls = sum(one["TC"] for one in told)
    share = {key: sum(one[key] for one in told) / calls for key in ("CNC", "MC", "GHC", "CHSR", "PM", "FR_UC")}
    assert 0.5 < share["CNC"] < 0.75
    assert 0.2 < share["MC"] < 0.45
    assert 0.01 < share["GHC"] < 0.06
    assert 0.01 < share["CHSR"] < 0.08
    assert 0.05 < share["PM"] < 0.3
    assert 0.03 < share["FR_UC"] < 0.2


def test_everything_that_is_counted_occurs(told: list[dict[str, Any]]) -> None:
    """No counter of the largest user is 0, and the identities hold for all."""
    for one in told:
        check_identities(one, everything=True)
    assert [key for key, value in told[0].items() if not value] == []
    assert {"-2", "16", "487"} <= set(told[0]["CST"])
    assert "-1" in told[0]["CMPID"] and sum(told[0]["CMPID"].values()) < told[0]["TC"]


def test_finer_definitions_decide_something(told: list[dict[str, Any]]) -> None:
    """Long inputs count by their length, and hidden callers are neither fresh nor repeats."""
    first = told[0]
    assert {f"{length} digits" for length in range(5, 17)} <= set(first["DTMF"])
    assert 0.02 < 1 - (first["freshCall"] + first["repeatCall"]) / first["TC"] < 0.08


def test_users_differ_in_size(told: list[dict[str, Any]]) -> None:
    """The second has about half as many calls as the first, the third a third."""
    first, second, third = (one["TC"] for one in told)
    assert 0.45 < second / first < 0.55
    assert 0.28 < third / first < 0.38


def test_callers_call_again(told: list[dict[str, Any]]) -> None:
    """Numbers are drawn from a user's customers, some of whom call often."""
    for one in told:
        assert 0.05 < one["repeatCall"] / one["TC"] < 0.6


def test_balances_go_down(log: list[Seen]) -> None:
    """Each account's balance, and what is left to call with, falls from one event to the next."""
    for user in ("u1", "u2", "u3"):
        told = [one.raw for one in log if one.raw["type"] == "balance.updated" and one.raw["userId"] == user]
        balances = [float(raw["balance"]) for raw in told]
        assert len(balances) > 50 and all(a > b for a, b in pairwise(balances))
        assert all(a["callBalance"] >= b["callBalance"] for a, b in pairwise(told))


def test_a_leg_goes_from_dialed_to_ended(undisturbed: list[Seen]) -> None:
    """The events of a leg come in their order, each once, and none after the call's end but for a crossing answer."""
    order = ["leg.dialed", "leg.ringing", "leg.answered", "leg.ended"]
    legs: dict[tuple[str, str], list[int]] = {}
    over: dict[str | None, int] = {}
    crossed = set()
    for _, raw, ts in undisturbed:
        call_id = raw.get("callId")
        if call_id in over:
            assert raw["type"] in order[2:] and ts - over[call_id] < 110
            crossed.add(call_id)
        if raw["type"].startswith("leg."):
            legs.setdefault((raw["callId"], str(raw.get("legId"))), []).append(order.index(raw["type"]))
        elif raw["type"] == "call.ended":
            over[call_id] = ts
    wrong = {leg: seen for leg, seen in legs.items() if seen != sorted(set(seen))}
    assert not wrong and len(legs) > 10_000
    assert 0.001 < len(crossed) / len(over) < 0.03


def by_call(log: list[Seen]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """(ts, event) of each event, by call."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for _, raw, ts in log:
        if "callId" in raw:
            found.setdefault(raw["callId"], []).append((ts, raw))
    return found


def test_only_a_hang_up_of_the_caller_crosses_an_answer(undisturbed: list[Seen]) -> None:
    """A leg that is answered after the call's end was ringing when the caller hung up, and no leg was answered."""
    crossed = 0
    for events in by_call(undisturbed).values():
        ended = [(ts, raw) for ts, raw in events if raw["type"] == "call.ended"]
        answered = [ts for ts, raw in events if raw["type"] == "leg.answered"]
        if ended and any(ts > ended[0][0] for ts in answered):
            crossed += 1
            assert ended[0][1]["endedBy"] == "caller" and ended[0][1]["status"] in (487, "487")
    assert crossed > 20


def test_groups_ring_at_once_and_one_leg_is_answered(undisturbed: list[Seen]) -> None:
    """Where legs end elsewhere, one leg was answered up to 100 ms before, and all others rang or could not."""
    groups = 0
    for events in by_call(undisturbed).values():
        elsewhere = [(ts, raw["legId"]) for ts, raw in events if raw.get("outcome") == "elsewhere"]
        if elsewhere:
            groups += 1
            answer = next(ts for ts, raw in events if raw["type"] == "leg.answered")
            assert all(5 <= ts - answer < 100 for ts, _ in elsewhere)
            ringing = {raw["legId"] for ts, raw in events if raw["type"] == "leg.ringing" and ts < answer}
            assert {leg for _, leg in elsewhere} < ringing
    calls = sum(one.raw["type"] == "call.started" for one in undisturbed)
    assert 0.04 < groups / calls < 0.15


def test_some_callers_wait_on_hold_before_an_agent_rings(undisturbed: list[Seen]) -> None:
    """They are resumed before they are answered, or hang up on hold."""
    queued = gone = 0
    for events in by_call(undisturbed).values():
        kinds = [raw["type"] for _, raw in events]
        if "call.held" in kinds and "leg.dialed" not in kinds[: kinds.index("call.held")]:
            queued += 1
            if "call.resumed" not in kinds:
                gone += 1
                assert "leg.dialed" not in kinds
            elif "leg.dialed" in kinds:
                assert kinds.index("call.resumed") < kinds.index("leg.dialed")
    assert queued > 200 and 0.03 < gone / queued < 0.15


def test_some_inputs_are_long(undisturbed: list[Seen]) -> None:
    """Most inputs are choices of a menu; a few are made-up account numbers of 5 to 16 digits."""
    inputs = [one.raw["digits"] for one in undisturbed if one.raw["type"] == "dtmf.received"]
    lengths = {len(digits) for digits in inputs if len(digits) > 4}
    assert lengths == set(range(5, 17))
    assert 0.02 < sum(len(digits) > 4 for digits in inputs) / len(inputs) < 0.1


def test_talks_are_short_and_long(undisturbed: list[Seen]) -> None:
    """About 3 minutes in the mean, some of 10 s, a few above 2 hours that are heard of every 5 minutes."""
    broadcasts = {one.raw["callId"] for one in undisturbed if one.raw.get("callType") == "BRD"}
    answered: dict[str, int] = {}
    talks = []
    for _, raw, ts in undisturbed:
        if raw["type"] == "leg.answered" and raw["callId"] not in broadcasts:
            answered.setdefault(raw["callId"], ts)
        elif raw["type"] == "call.ended" and raw["callId"] in answered:
            talks.append(ts - answered[raw["callId"]])
    assert 150_000 < fmean(talks) < 220_000
    assert min(talks) < 10_000 and 0 < sum(talk > 2 * HOUR_MS for talk in talks) < len(talks) / 200
    beats: dict[str, list[int]] = {}
    for _, raw, ts in undisturbed:
        if raw["type"] == "call.heartbeat":
            beats.setdefault(raw["callId"], []).append(ts)
    assert max(map(len, beats.values())) >= 24
    assert {b - a for times in beats.values() for a, b in pairwise(times)} == {5 * MINUTE_MS}


def test_the_number_of_live_calls_levels_off(log: list[Seen]) -> None:
    """It stays about rate x mean duration, in every half hour after the first."""
    started: dict[str, int] = {}
    live: set[str] = set()
    durations = []
    samples: dict[int, list[int]] = {}
    for _, raw, ts in log:
        if raw["type"] == "call.started":
            started[raw["callId"]] = ts
            live.add(raw["callId"])
        elif raw["type"] == "call.ended":
            durations.append(ts - started[raw["callId"]])
            live.discard(raw["callId"])
        elif raw["type"] == "switch.restarted":
            live -= {call_id for call_id in live if call_id.startswith(raw["switchId"] + "-")}
        samples.setdefault((ts - T0_MS) // (HOUR_MS // 2), []).append(len(live))
    expected = 0.5 * fmean(durations) / 1000
    assert len(samples) == 8
    assert all(0.7 * expected < fmean(counts) < 1.3 * expected for at, counts in samples.items() if at), expected
