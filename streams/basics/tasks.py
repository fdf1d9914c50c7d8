"""The end of tasks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_S: Final = 0.2


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until all have ended, however they do. Once is not enough: aiokafka swallows a cancellation that
    comes while it closes, and whoever had called it would go on."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
