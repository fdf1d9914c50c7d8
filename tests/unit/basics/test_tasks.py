"""Tasks end, even those in which a library swallows that they are cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from streams.basics.tasks import end_tasks


async def swallowing(times: int) -> None:
    """Runs on for so many cancellations."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    await asyncio.sleep(3600)


def test_tasks_end_that_swallow_being_cancelled() -> None:
    """Beside one that ends at once, one that has ended, and one that fails when it is told to."""

    async def failing() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError

    async def test() -> None:
        async with asyncio.timeout(10):
            tasks = [asyncio.create_task(one) for one in (swallowing(3), swallowing(0), failing(), asyncio.sleep(0))]
            await asyncio.sleep(0.01)
            await end_tasks(*tasks)
        assert [task.cancelled() for task in tasks] == [True, True, False, False]
        assert isinstance(tasks[2].exception(), ValueError)
        await end_tasks()

    asyncio.run(test())
