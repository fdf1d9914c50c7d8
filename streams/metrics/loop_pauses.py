"""``LoopPauses``: measures for how long the event loop of a worker runs nothing else than one thing."""

from __future__ import annotations

import asyncio
from typing import Final

INTERVAL_S: Final = 0.005
"""A timer is due so often. A pause is seen if it lasts until after that: up to this much of each is missed. The timers
take some 0.3 % of a core."""


class LoopPauses:
    """Measures how late a timer of the running event loop fires: so long it was busy, or without the processor."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure. Call this in the event loop, and ``stop`` at its end."""
        self._set_timer(asyncio.get_running_loop())

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> float:
        """The longest pause since the last ``take``, in s. A pause that has ended just now counts too."""
        if self._timer is not None:
            self._note(asyncio.get_running_loop())
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + INTERVAL_S
        self._timer = loop.call_at(self._due_s, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._note(loop)
        self._set_timer(loop)

    def _note(self, loop: asyncio.AbstractEventLoop) -> None:
        late_s = loop.time() - self._due_s
        if late_s > self._longest_s:
            self._longest_s = late_s
