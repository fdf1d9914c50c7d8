"""The time of an attack: it goes on while the attacked worker runs or has nothing to do, as the kernel says.

It stands still while the worker waits for a processor because other processes have all of them. So the rates of an
attack, and what the worker's replies take, are the same on a machine that is busy with other things: there the attack
lasts longer by the clock on the wall.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.02
"""A sleeper looks at least so often how late it is."""


class WorkerClock:
    """The time in seconds since its creation. ``pid``: the worker. Of its threads, the main one counts."""

    def __init__(self, pid: int) -> None:
        self._statistics = Path(f"/proc/{pid}/schedstat")
        self._began = self._ran_or_slept_s()

    def _ran_or_slept_s(self) -> float:
        return time.monotonic() - self.waited_ms() / 1000

    def waited_ms(self) -> float:
        """How long the worker has waited for a processor so far."""
        return int(self._statistics.read_text().split()[1]) / 1e6

    def now(self) -> float:
        """The present time."""
        return self._ran_or_slept_s() - self._began

    async def sleep_until(self, due: float) -> None:
        """Sleep until a time; returns at once if it has passed."""
        while True:
            left = due - self.now()
            if left <= 0:
                return
            await asyncio.sleep(min(left, LOOK_S))
