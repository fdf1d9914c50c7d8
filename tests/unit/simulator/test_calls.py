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
    """The events of a leg come in their order, each once, and none after the call's end."""
    order = ["leg.dialed", "leg.ringing", "leg.answered", "leg.ended"]
    legs: dict[tuple[str, str], list[int]] = {}
    over = set()
    for _, raw, _ in undisturbed:
        call_id = raw.get("callId")
        assert call_id not in over
        if raw["type"].startswith("leg."):
            legs.setdefault((raw["callId"], str(raw.get("legId"))), []).append(order.index(raw["type"]))
        elif raw["type"] == "call.ended":
            over.add(call_id)
    wrong = {leg: seen for leg, seen in legs.items() if seen != sorted(set(seen))}
    assert not wrong and len(legs) > 10_000


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
