"""The time of an attack: it goes on while the attacked worker runs or has nothing to do, as the kernel says.

It stands still while the worker waits for a processor because other processes have all of them. So the rates of an
attack, and what the worker's replies take, are the same on a machine that is busy with other things: there the attack
lasts longer by the clock on the wall.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.02
"""A sleeper looks at least so often how late it is."""


class WorkerClock:
    """The time in seconds since its creation. ``pid``: the worker. Of its threads, the main one counts."""

    def __init__(self, pid: int) -> None:
        self._main = Path(f"/proc/{pid}/schedstat")
        self._threads = Path(f"/proc/{pid}/task")
        self._began = self._ran_or_slept_s()

    def _ran_or_slept_s(self) -> float:
        return time.monotonic() - _waited_ms(self._main) / 1000

    def waits_ms(self) -> dict[str, float]:
        """Thread -> how long it has waited for a processor so far, in ms. A thread that is gone waits no more."""
        found = {}
        for thread in self._threads.iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                found[thread.name] = _waited_ms(thread / "schedstat")
        return found

    def waited_ms(self, before: dict[str, float]) -> float:
        """How long all threads together have waited since there were the waits ``before``.

        The loop also waits where another thread has Python's interpreter lock and no processor.
        """
        return sum(waited - before.get(thread, waited) for thread, waited in self.waits_ms().items())

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


def _waited_ms(statistics: Path) -> float:
    return int(statistics.read_text().split()[1]) / 1e6
