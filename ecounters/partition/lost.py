"""What a partition's state notes when Kafka has deleted events that it has not counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ecounters.changelog.holes import with_hole
from ecounters.partition.state import PartitionState

STEP: Final = 1_000
"""How many calls one step looks at, in some 0.1 ms."""


def losing_to(state: PartitionState, offset: int) -> Iterator[None]:
    """Skip to ``offset``, because Kafka has deleted all events before it, and note the hole. Yields after each step.

    The hole begins with the oldest live call, so all calls are looked at. Change nothing between two steps.
    """
    begin = state.watermark
    looked_at = 0
    for user in state.users.values():
        for call in user.calls.values():
            if call.start and not call.ended:
                begin = min(begin, call.start)
            looked_at += 1
            if looked_at % STEP == 0:
                yield
    state.holes = with_hole(state.holes, begin, state.watermark - state.policy.keep_days_ms)
    state.skip_to(offset)
