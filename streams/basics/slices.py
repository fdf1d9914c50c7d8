"""Time slices: the heavy work of many tasks shares one event loop, and requests still get their turn soon.

Applying events, restoring and flushing take the processor for long. Such work runs in a ``Slice``, one task at a time.
Once all tasks together have used about ``length_ms``, no heavy work runs for FREE_ITERATIONS of the event loop::

    loop iteration     1                       2       3       4       5       6
    heavy work         [A: 6 ms] [B: 5 ms]                                     [C: 10 ms]      length_ms = 10
    everything else    .                       .       .       .       .       .
                       used: 11 ms, used up    free    free    free    free    used: 0 again

If each task had a limit of its own instead, all of them could work in the same iteration, and a request would wait for
all of them.

A task gets the next slice after those that have waited longer. Work that a request waits for comes ``first``. Whose
slice is next is decided after the free iterations: a request that is read in them need not wait for a slice more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import Final, Self

FREE_ITERATIONS: Final = 4
"""How many iterations of the event loop are free of heavy work once a slice is used up. A waiting request is read in
the first, aiohttp makes a task of it in the second, and in the third its handler runs up to its own heavy work (from
Python 3.12 on in the second). The fourth begins with the decision whose slice is next."""


class TimeSlices:
    """The time slices of one event loop. Tasks use them through ``Slice``, one after the other.

    The time that all tasks use is added up. The sum is set to 0 after FREE_ITERATIONS iterations of the event loop,
    counted from the first task that added to it. When the sum reaches ``length_ms``, the iterations are counted anew,
    and the next task has its turn when they have passed.
    """

    def __init__(self, length_ms: int) -> None:
        self._length_s = length_ms / 1000
        # A task works, or is the next to work; or a slice is used up and its free iterations have not passed.
        self._is_held = False
        self._first: deque[asyncio.Future[None]] = deque()  # those that wait for their turn: these before the others
        self._others: deque[asyncio.Future[None]] = deque()
        self._used_s = 0.0
        self._free_iterations_left = 0  # above 0: _count_iteration is scheduled

    async def begin(self, *, first: bool = False) -> None:
        """Wait until the calling task may work. Call ``end`` after the work. ``first``: before the tasks without it."""
        if self._is_held:
            await self._until(self._queue(first))
        else:
            self._is_held = True

    async def renew(self, used_s: float, *, first: bool = False) -> None:
        """``end``, then ``begin``. A task that comes ``first`` is next again, unless others of these wait."""
        turn = self._queue(first)  # before ``end`` hands the slice on
        self.end(used_s)
        await self._until(turn)

    def _queue(self, first: bool) -> asyncio.Future[None]:
        turn = asyncio.get_running_loop().create_future()
        (self._first if first else self._others).append(turn)
        return turn

    async def _until(self, turn: asyncio.Future[None]) -> None:
        """Wait for the turn. Hands it on if the task is cancelled when it has come."""
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        """Let the next task have its turn, if one waits."""
        for waiting in (self._first, self._others):
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # a task that was cancelled waits no more
                    turn.set_result(None)
                    return
        self._is_held = False

    def end(self, used_s: float) -> None:
        """Note that the calling task has worked for ``used_s``. Let the next task work, unless the slice is used up."""
        self._used_s += used_s
        is_counting = self._free_iterations_left > 0
        is_used_up = self._used_s >= self._length_s
        if is_used_up or not is_counting:
            self._free_iterations_left = FREE_ITERATIONS
        if not is_counting:
            asyncio.get_running_loop().call_soon(self._count_iteration)
        if not is_used_up:
            self._hand_on()

    def is_used_up(self, used_s: float) -> bool:
        """Whether the slice is used up, if the task that works now has worked for ``used_s`` since ``begin``."""
        return self._used_s + used_s >= self._length_s

    def _count_iteration(self) -> None:
        """Count down one iteration of the event loop, and schedule itself for the next one.

        After the last of them, set the time used to 0. If the slice was used up, let the next task work.
        """
        self._free_iterations_left -= 1
        if self._free_iterations_left:
            asyncio.get_running_loop().call_soon(self._count_iteration)
            return
        is_used_up = self._used_s >= self._length_s
        self._used_s = 0.0
        if is_used_up:
            self._hand_on()


class Slice:
    """A block of heavy work of one task: ``async with Slice(slices) as time_slice:``.

    Within the block call ``await time_slice.yield_if_used_up()`` about every 0.5 ms, and await nothing else: all
    other heavy work waits while the block holds its slice.

    ``first``: it has its slices before all heavy work that is not, which waits until this is at its end. Only for work
    that is bounded. Work that has its turn already ends its slice before.
    """

    __slots__ = ("_began", "_first", "_is_held", "_slices")

    def __init__(self, slices: TimeSlices, *, first: bool = False) -> None:
        self._slices = slices
        self._first = first
        self._is_held = False
        self._began = 0.0

    async def __aenter__(self) -> Self:
        """Wait for a slice."""
        await self._slices.begin(first=self._first)
        self._hold()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the slice back. A task that was cancelled while it waited for a new slice holds none."""
        if self._is_held:
            self._is_held = False
            self._slices.end(time.perf_counter() - self._began)

    async def yield_if_used_up(self) -> None:
        """If the slice is used up, give it back and wait for a new one; the event loop runs other tasks meanwhile."""
        if self._slices.is_used_up(time.perf_counter() - self._began):
            self._is_held = False
            await self._slices.renew(time.perf_counter() - self._began, first=self._first)
            self._hold()

    def _hold(self) -> None:
        self._is_held = True
        self._began = time.perf_counter()
