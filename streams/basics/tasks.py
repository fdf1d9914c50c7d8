"""Ends asyncio tasks, even those that swallow a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any, Final

CANCEL_AGAIN_S: Final = 0.2
"""How long a cancelled task gets to end before it is cancelled again."""


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until all of them have ended, whether by the cancellation, an error or a result.

    A task that has not ended after CANCEL_AGAIN_S is cancelled again, as often as it takes, without a limit. aiokafka
    swallows a cancellation that comes while it closes, and the task that called it would run on. Errors of the tasks
    are not raised.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
