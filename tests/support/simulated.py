"""Made-up messages, and what the domain reads in them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from ecounters.simulator.world import Plan, Published, simulate
from tests.support.builders import Event

USERS = 3
HOUR_MS = 3_600_000


class Seen(NamedTuple):
    """A message, and what the domain reads in it."""

    published: Published
    raw: Event
    ts: int


def until(plan: Plan, hours: float) -> Iterator[Published]:
    """The messages of the plan's first hours."""
    return takewhile(lambda one: one.at_ms < plan.start_ms + hours * HOUR_MS, simulate(plan))
