"""Target "logs": logs to the state and to the recount, with restores, roll-ups and passing time at random points.

Both must refuse the same records for the same reasons and show the same counters after every record. Half of the logs
are counted with structures that are made for few things, see ``small_structures``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from random import Random
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from ecounters.recount.call import Limits
from tests.fuzz.rounds import one_a_line, shortest
from tests.support.builders import T0_MS, LogRecord, encoded, roll_up
from tests.support.crowds import crowd, crowds
from tests.support.log_strategies import PARTITIONS, USERS, Step, chaotic, made_event
from tests.support.small_structures import small_calls, small_steps
from tests.support.state_and_recount import StateAndRecount

ZONES = ("UTC", "Asia/Kolkata", "America/New_York")


def crowded(drawn: list[tuple[str, int]], shuffle: Random, every: int) -> list[Step]:
    """A log of one call with many legs, inputs, holds or IVR entries, which is saved after each ``every`` events."""
    steps = []
    events = crowd(drawn, shuffle)
    events.insert(shuffle.randrange(len(events)), made_event("call.started", 0, 0, T0_MS, 0, "start"))
    for at, event in enumerate(events):
        for partition in range(PARTITIONS):
            steps.append(Step("event", partition, LogRecord(at, event["ts"], encoded(event))))
            if at % every == 0:
                steps.append(Step("cut", partition))
    return steps


class Logs:
    """The target. An input is (whether structures are small, the steps of a log)."""

    name: ClassVar[str] = "logs"
    inputs: ClassVar[st.SearchStrategy[Any]] = st.tuples(
        st.booleans(),
        st.one_of(
            *[chaotic(60, stamped=False)] * 4,
            st.builds(crowded, crowds, st.randoms(use_true_random=False), st.integers(1, 40)),
        ),
    )

    def check(self, given: tuple[bool, Sequence[Step]]) -> None:
        """AssertionError where state and recount differ."""
        small, steps = given
        with ExitStack() as exits:
            limits: Limits | None = None
            if small:
                exits.enter_context(small_steps())
                limits = exits.enter_context(small_calls())
            for partition in range(PARTITIONS):
                both = StateAndRecount(partition, PARTITIONS, limits=limits)
                for at, step in enumerate(step for step in steps if step.partition == partition):
                    _happen(both, step)
                    _compare(both, USERS[at % len(USERS)])
                _compare(both, *USERS)

    def told(self, given: tuple[bool, list[Step]]) -> str:
        """The shortest log that fails, one step a line."""
        small, steps = given
        left = shortest(steps, lambda fewer: self.check((small, fewer)))
        return f"small structures: {small}\n{one_a_line(left)}"


def _happen(both: StateAndRecount, step: Step) -> None:
    if step.record is not None:
        both.take(step.record)
    elif step.what == "pass":
        _compare(both, *USERS, wall_ms=both.recount.arrival + step.number * 40)
    elif step.what in ("cut", "look"):
        both.crash()
    elif step.what == "roll":
        for user_id in filter(both.state.due_for_roll_up, list(both.state.users)):
            roll_up(both.state, user_id, ZoneInfo(ZONES[step.number % len(ZONES)]))


def _compare(both: StateAndRecount, *users: str, wall_ms: int | None = None) -> None:
    differences = both.differences(users=users, wall_ms=wall_ms)
    assert not differences, differences
