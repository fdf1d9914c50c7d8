"""``LoopPauses``: measures for how long the event loop of a worker runs nothing else than one thing."""

from __future__ import annotations

import asyncio
import selectors
import time


class LoopPauses:
    """The longest pause of an event loop: from when it has looked for what is ready until it looks again.

    While the loop runs what is ready, nothing that becomes ready meanwhile is seen: a request waits so long. A loop
    that wakes later than its next timer wanted, because it did not get the processor, has paused too.
    """

    def __init__(self) -> None:
        self._selector: _TimedSelector | None = None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop whose pauses are measured from now on, in place of those of an earlier one."""
        self._selector = _TimedSelector()
        return asyncio.SelectorEventLoop(self._selector)

    def take(self) -> float:
        """The longest pause since the last ``take``, in s. One that has not ended counts too. 0 without a loop."""
        return 0.0 if self._selector is None else self._selector.take_longest()


class _TimedSelector(selectors.DefaultSelector):
    """Waits as the default selector does, and measures the time between its waits."""

    def __init__(self) -> None:
        super().__init__()
        self._longest_s = 0.0
        self._looked_s = time.monotonic()  # the end of the last wait

    def take_longest(self) -> float:
        """The longest time without a wait since the last call, in s."""
        now_s = time.monotonic()
        longest_s = max(self._longest_s, now_s - self._looked_s)
        self._longest_s, self._looked_s = 0.0, now_s
        return longest_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, see ``BaseSelector.select``; note how long the last wait is ago, and how much too long this one was."""
        began_s = time.monotonic()
        ready = super().select(timeout)
        pause_s, self._looked_s = began_s - self._looked_s, time.monotonic()
        if not ready and timeout is not None:
            pause_s = max(pause_s, self._looked_s - began_s - max(0.0, timeout))
        self._longest_s = max(self._longest_s, pause_s)
        return ready
