"""Simulated switches: the same again for the same plan, with every event that a switch can send."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import ecounters.simulator.world
from ecounters.events.types import CALL_TYPES, TYPES
from ecounters.simulator.world import Plan, simulate
from tests.support.builders import T0_MS
from tests.support.simulated import Seen, until

ROOT = Path(__file__).parents[3]
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def digest(plan: Plan, events: int = 20_000) -> str:
    """A fingerprint of the first messages."""
    made = hashlib.sha256()
    for one in islice(simulate(plan), events):
        made.update(b"%d %s %s\n" % (one.at_ms, (one.user_id or "").encode(), one.value))
    return made.hexdigest()


# -------------------------------------------------------------------------------------------- the same again


@pytest.mark.parametrize("chaos", [False, True])
def test_one_plan_gives_the_same_bytes(chaos: bool) -> None:
    """Twice in this process, and in others whose hashes of texts are different."""
    plan = Plan(start_ms=T0_MS, chaos=chaos)
    script = (
        "from ecounters.simulator.world import Plan; from tests.unit.simulator.test_world import digest;"
        f"print(digest(Plan(start_ms={T0_MS}, chaos={chaos})))"
    )
    elsewhere = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert {digest(plan), digest(plan), *elsewhere} == {digest(plan)}


def test_another_seed_gives_other_calls() -> None:
    """The seed is what chance comes from."""
    assert digest(Plan(start_ms=T0_MS, seed=1), 100) != digest(Plan(start_ms=T0_MS, seed=2), 100)


def test_chance_comes_from_one_method() -> None:
    """Of the module random, only Random.random() gives the same numbers in every Python."""
    for path in (ROOT / "ecounters" / "simulator").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        taken = {node.module: node.names for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        whole = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        assert [name.name for name in taken.get("random", [])] in ([], ["Random"]), path.name
        assert not {"random", "secrets", "uuid"} & {*whole}, path.name
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "Random"]
        methods = [
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call) and node.value.func in used
        ]
        assert methods == ["random"] * len(used), path.name


# -------------------------------------------------------------------------------------------- the messages


def test_messages_come_in_order_at_their_time(log: list[Seen]) -> None:
    """Without chaos every event is published when it happens."""
    assert all(one.published.at_ms == one.ts for one in log)
    assert all(a.published.at_ms <= b.published.at_ms for a, b in pairwise(log))


def test_the_key_is_the_user(log: list[Seen]) -> None:
    """All events have one, but the restarts, which are for everybody."""
    for published, raw, _ in log:
        assert published.user_id == raw.get("userId")
        assert (published.user_id is None) == (raw["type"] == "switch.restarted")


def test_every_type_of_event_and_call_occurs(log: list[Seen]) -> None:
    """Nothing that a switch can send is left out. An erasure is sent by whoever keeps the accounts."""
    assert {one.raw["type"] for one in log} == set(TYPES) - {"account.erased"}
    assert {one.raw["callType"] for one in log if "callType" in one.raw} == set(CALL_TYPES)


def test_every_field_occurs(log: list[Seen]) -> None:
    """Each type's own fields are there somewhere."""
    seen: dict[str, set[str]] = {}
    for one in log:
        seen.setdefault(one.raw["type"], set()).update(one.raw)
    for declared in (one for one in TYPES.values() if one.name != "account.erased"):
        wanted = {*declared.required, *declared.optional} - (
            {"userId"} if declared.name == "switch.restarted" else set()
        )
        assert wanted <= seen[declared.name], declared.name


def test_ids_are_unique_and_short(log: list[Seen]) -> None:
    """No two events share an id, no two calls a callId."""
    assert len({one.raw["id"] for one in log}) == len(log)
    started = [one.raw["callId"] for one in log if one.raw["type"] == "call.started"]
    assert len(set(started)) == len(started)
    assert max(map(len, started)) <= 40


def test_events_have_a_usual_size(log: list[Seen]) -> None:
    """Between 130 and 200 bytes in the mean, so that what is measured with them means something."""
    assert 130 < fmean(len(one.published.value) for one in log) < 200


def test_telephone_numbers_are_nobodys(log: list[Seen]) -> None:
    """The area code 555 has not been given out, however a number is spelled."""
    numbers = [one.raw["number"] for one in log if "number" in one.raw]
    digits = [re.sub(r"@.*|;.*|\D", "", number).removeprefix("00") for number in numbers]
    assert {(len(of_one), of_one[:4]) for of_one in digits} == {(11, "1555"), (0, "")}
    assert all(one.raw.get("did", "1555").startswith("1555") for one in log)


def test_numbers_are_spelled_in_many_ways_or_hidden(log: list[Seen]) -> None:
    """Most are E.164, some in one of nine other spellings, and a few are words or missing."""
    starts = [one.raw for one in log if one.raw["type"] == "call.started"]
    forms = Counter(re.sub(r"\d", "9", raw.get("number", "none")) for raw in starts)
    hidden = {form for form in forms if "9" not in form}
    assert len(forms - Counter(hidden)) == 10 + len(hidden) and {"none", "anonymous", "Restricted", ""} <= hidden
    assert 0.03 < sum(forms[form] for form in hidden) / len(starts) < 0.07
    assert 0.6 < forms["+99999999999"] / len(starts) < 0.75


def test_a_few_switches_are_old_fashioned(log: list[Seen]) -> None:
    """Now and then times come as text in several zones, and numbers as strings; not often."""
    texts = [one.raw["ts"] for one in log if isinstance(one.raw["ts"], str)]
    assert 0.003 < len(texts) / len(log) < 0.04
    assert len({text[-6:] for text in texts}) == 3
    for field in ("status", "campaignId", "balance", "retry"):
        assert any(isinstance(one.raw.get(field), str) for one in log), field
    assert any(isinstance(one.raw.get("legId"), int) for one in log)


# ---------------------------------------------------------------------------------------------- the rate


def test_the_rate_follows_the_day() -> None:
    """As many calls in a day as the plan says; at its busiest hour far more than at its quietest."""
    midnight = T0_MS - 12 * HOUR_MS
    plan = Plan(start_ms=midnight, rate_per_s=0.05, restarts=False)
    starts = [one.at_ms for one in until(plan, 24) if b'"call.started"' in one.value]
    assert 0.95 < len(starts) / (0.05 * 86_400) < 1.05
    hours = Counter((at - midnight) // HOUR_MS for at in starts)
    assert hours[10] > 4 * hours[3] > 0


# ------------------------------------------------------------------------------------------- the switches


def test_snapshots_list_what_is_live(log: list[Seen]) -> None:
    """A snapshot names each call of the user that the switch has begun 3 s ago and not ended, and no other."""
    live: dict[tuple[str, str], dict[str, int]] = {}
    snapshots = missing = 0
    for _, raw, ts in log:
        key = (raw.get("userId", ""), raw.get("switchId", ""))
        if raw["type"] == "call.started":
            live.setdefault(key, {})[raw["callId"]] = ts
        elif raw["type"] == "call.ended":
            del live[key][raw["callId"]]
        elif raw["type"] == "switch.restarted":
            live = {(user, switch): calls for (user, switch), calls in live.items() if switch != raw["switchId"]}
        elif raw["type"] == "switch.snapshot":
            snapshots += 1
            now_live = live.get(key, {})
            assert set(raw["callIds"]) == {call_id for call_id, start in now_live.items() if start <= ts - 3_000}
            missing += len(now_live) - len(raw["callIds"])
    assert snapshots > 50 and missing > 5


def test_a_restart_is_the_end_of_the_calls_before_it(log: list[Seen]) -> None:
    """Nothing is heard any more of what the switch was at; the calls after it go on as ever."""
    restarts = [(one.raw["switchId"], one.ts) for one in log if one.raw["type"] == "switch.restarted"]
    assert restarts
    for switch, at in restarts:
        known = {
            one.raw["callId"]
            for one in log
            if one.raw.get("switchId") == switch and "callId" in one.raw and one.ts <= at
        }
        after = [one.raw for one in log if one.raw.get("switchId") == switch and one.ts > at]
        assert not known & {raw.get("callId") for raw in after}
        assert any(raw["type"] == "call.ended" for raw in after)


def test_without_restarts_every_call_ends(undisturbed: list[Seen]) -> None:
    """Then a call is over when its switch says so, and no switch takes stock."""
    assert not [one for one in undisturbed if one.raw["type"].startswith("switch.")]
    ended = {one.raw["callId"] for one in undisturbed if one.raw["type"] == "call.ended"}
    first_hour = [one.raw for one in undisturbed if one.ts < T0_MS + HOUR_MS]
    early = {raw["callId"] for raw in first_hour if raw["type"] == "call.started"}
    assert len(early) > 1_000 and early <= ended


def test_a_snapshot_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that would be refused says nothing; half of it would end the calls of the other half."""
    monkeypatch.setattr(ecounters.simulator.world, "SNAPSHOT_BYTES_MAX", 400)
    plan = Plan(start_ms=T0_MS, rate_per_s=1, day_shape=False)
    snapshots = [one.value for one in until(plan, 1) if b'"switch.snapshot"' in one.value]
    assert snapshots and max(map(len, snapshots)) <= 400


# ----------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_ms": 1_773_144_000},
        {"start_ms": 4_102_444_800_000},
        {"users": 0},
        {"rate_per_s": 0},
        {"rate_per_s": -1.0},
        {"rate_per_s": float("inf")},
        {"rate_per_s": float("nan")},
        {"lateness_ms": -1},
        {"lateness_ms": 15 * MINUTE_MS},
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """With a ValueError that names the field and the value."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be .*{str(value).replace('+', '.')}"):
        Plan(**{"start_ms": T0_MS, **wrong})


@pytest.mark.parametrize("users", [1, 2_000])
def test_there_may_be_one_user_or_many(users: int) -> None:
    """Every event is of one of them, whatever their number."""
    seen = {one.user_id for one in islice(simulate(Plan(start_ms=T0_MS, users=users)), 20_000)} - {None}
    assert seen <= {f"u{n + 1}" for n in range(users)}
    assert len(seen) >= min(users, 200)
