"""States that a worker keeps to answer from, after it has given their partitions up.

    owner, at the revoke       flushes, freezes the state       answers from it
    after the assignment       keeps the state                  answers from it: incomplete, but nobody gets a 503
    the next owner             restores, and says so            answers; the state is discarded a little later

What is kept has no writer: nothing of it can ever be flushed. It does not change, so the next owner, which has restored
what was flushed last, never shows less.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Final

from ecounters.partition.state import PartitionState
from streams.basics.times import now_ms
from streams.engine.context import WorkerContext
from streams.engine.discarding import discard

KEPT_LIMIT_S: Final = 120.0
"""A state is kept for so long at most: the next owner may be of a release that does not say that it has restored it."""
GRACE_S: Final = 2.0
"""So long a state is kept after the next owner has said that it has it: large replies may wait for the state."""
TIMER_S: Final = 0.05
"""A timer that looks for what was kept for long enough fires this much later."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A state that is kept. ``lock``: of those who read it in several steps.

    ``since_ms``: when the partition was given up, by the wall clock. ``until_s``: when the state is discarded, in
    monotonic s.
    """

    state: PartitionState
    lock: asyncio.Lock
    since_ms: int
    until_s: float


class KeptStates:
    """The states that this worker keeps, by partition. Only the event loop's thread may change them."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._kept: dict[int, Kept] = {}

    def keep(self, state: PartitionState, lock: asyncio.Lock) -> None:
        """Keep the state of a partition that was given up, in place of one that was kept before."""
        self.drop(state.partition)
        self._kept[state.partition] = Kept(state, lock, now_ms(), time.monotonic() + KEPT_LIMIT_S)
        asyncio.get_running_loop().call_later(KEPT_LIMIT_S + TIMER_S, self._drop_old)

    def get(self, partition: int) -> Kept | None:
        """What is kept of a partition."""
        return self._kept.get(partition)

    def positions(self) -> dict[int, int]:
        """partition -> the position of the state that is kept of it. May be called from any thread."""
        return {partition: kept.state.position for partition, kept in list(self._kept.items())}

    def drop(self, partition: int) -> None:
        """Discard what is kept of a partition, if anything, in the background."""
        kept = self._kept.pop(partition, None)
        if kept is not None:
            discard(kept.state.discarding(), self._context, kept.lock)

    def drop_later(self, partition: int) -> None:
        """Discard what is kept of a partition after GRACE_S."""
        kept = self._kept.get(partition)
        if kept is not None:
            until_s = min(kept.until_s, time.monotonic() + GRACE_S)
            self._kept[partition] = replace(kept, until_s=until_s)
            asyncio.get_running_loop().call_later(GRACE_S + TIMER_S, self._drop_old)

    def _drop_old(self) -> None:
        """Discard what was kept for long enough."""
        now_s = time.monotonic()
        for partition, kept in list(self._kept.items()):
            if kept.until_s <= now_s:
                self.drop(partition)
