"""Tasks are ended, even those that swallow a cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from streams.basics.tasks import end_tasks


async def swallowing(times: int) -> None:
    """Run on after each of the first ``times`` cancellations."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    await asyncio.sleep(3600)


def test_all_tasks_end_however_they_take_a_cancellation() -> None:
    """One swallows three of them, one ends at once, one fails, and one has ended before."""

    async def failing() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError

    async def test() -> None:
        async with asyncio.timeout(10):
            tasks = [asyncio.create_task(work) for work in (swallowing(3), swallowing(0), failing(), asyncio.sleep(0))]
            await asyncio.sleep(0.01)
            await end_tasks(*tasks)
        assert [task.cancelled() for task in tasks] == [True, True, False, False]
        assert isinstance(tasks[2].exception(), ValueError)
        await end_tasks()

    asyncio.run(test())
