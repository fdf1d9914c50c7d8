"""Frees the memory of states that a worker does not use any more, in time slices.

    restore    status.state:  old -> new        old is discarded
    release    status.state:  old -> None       old is discarded
    a restore that fails or is cancelled        what was restored so far is discarded

A call and its account refer to one another, and the garbage collector does not look at calls. So a state that was only
dropped would stay in memory for ever. To empty it takes some 0.1 s for 50,000 calls. Nobody waits for that: neither the
rebalance in which the partition is released nor the restored state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from streams.basics.slices import Slice
from streams.engine.context import WorkerContext

log = logging.getLogger(__name__)

STEPS: Final = 20
"""So many steps are taken between two checks of the time slice: some 0.02 ms of work."""


def discard(steps: Iterator[None], context: WorkerContext, in_use: asyncio.Lock | None = None) -> None:
    """Take all steps in a background task; return at once. One state of a worker after the other is discarded.

    ``steps``: of ``PartitionState.discarding``. ``in_use``: the lock of those who may be amid their steps with the
    state; it is waited for. Whoever gets the lock later must use the state of ``PartitionStatus`` as it is then.
    """
    task = asyncio.create_task(_take(steps, context, in_use), name="discard a state")
    context.discards.add(task)
    task.add_done_callback(context.discards.discard)


async def _take(steps: Iterator[None], context: WorkerContext, in_use: asyncio.Lock | None) -> None:
    """Take all steps. An unexpected error ends the worker."""
    try:
        if in_use is not None:
            async with in_use:
                pass
        async with context.discard_lock, Slice(context.slices) as time_slice:
            for index, _ in enumerate(steps):
                if index % STEPS == STEPS - 1:
                    await time_slice.yield_if_used_up()
    except Exception as error:
        log.exception("a state that is not used any more could not be emptied: this must not happen")
        await context.fail(error)
