"""Logs that the tests of the simulator share: made once for each file of tests."""

from __future__ import annotations

import orjson
import pytest

from ecounters.events.parse import parse
from ecounters.simulator.world import Plan
from tests.support.builders import T0_MS
from tests.support.simulated import USERS, Seen, until


@pytest.fixture(scope="module")
def log() -> list[Seen]:
    """Four hours of a small platform, when all is well: in them, every switch restarts or soon will."""
    plan = Plan(start_ms=T0_MS, users=USERS, rate_per_s=0.5, day_shape=False)
    return [Seen(one, orjson.loads(one.value), parse(one.value).ts) for one in until(plan, 4)]


@pytest.fixture(scope="module")
def undisturbed() -> list[Seen]:
    """Five hours in which no switch restarts: no talk is cut short."""
    plan = Plan(start_ms=T0_MS, rate_per_s=0.5, day_shape=False, restarts=False)
    return [Seen(one, orjson.loads(one.value), parse(one.value).ts) for one in until(plan, 5)]
