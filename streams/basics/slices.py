"""Turns: the heavy work of a worker goes in stretches, one at a time, and everybody else has the loop in between."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Final, Self

FREE_ITERATIONS: Final = 2
"""Rounds of the loop without heavy work, after each length of it: in that many, a question that has come is answered
(it is read in one, and its handler runs in the next)."""


class TimeSlices:
    """Of all heavy work of one event loop, ``length_ms`` or little more goes without a rest.

    Else each partition could have that long in one round, and whoever asks for an answer would wait for all of them.
    """

    def __init__(self, length_ms: int) -> None:
        self._length_s = length_ms / 1000
        self._free = asyncio.Lock()  # whoever waits longest is next
        self._rested = asyncio.Event()
        self._rested.set()
        self._used_s = 0.0  # since it was last forgotten
        self._rounds_left = 0  # to go until what was used is forgotten

    async def begin(self) -> None:
        """Wait for a turn."""
        await self._free.acquire()
        try:
            await self._rested.wait()
        except BaseException:
            self._free.release()
            raise

    def end(self, used_s: float) -> None:
        """Give the turn back, after so long."""
        self._used_s += used_s
        counting = self._rounds_left > 0
        if self._used_s >= self._length_s:
            self._rested.clear()
            self._rounds_left = FREE_ITERATIONS
        if not counting:
            self._rounds_left = FREE_ITERATIONS
            asyncio.get_running_loop().call_soon(self._next_round)
        self._free.release()

    def lasts_too_long(self, used_s: float) -> bool:
        """Whether a turn that has taken so long should end."""
        return self._used_s + used_s >= self._length_s

    def _next_round(self) -> None:
        self._rounds_left -= 1
        if self._rounds_left:
            asyncio.get_running_loop().call_soon(self._next_round)
            return
        self._used_s = 0.0
        self._rested.set()


class Slice:
    """``async with Slice(turns) as turn:`` has one; in it, ``over`` ends it and waits for another where it is long.

    Nothing but ``over`` may be waited for meanwhile.
    """

    __slots__ = ("_began", "_has", "_turns")

    def __init__(self, turns: TimeSlices) -> None:
        self._turns = turns
        self._has = False
        self._began = 0.0

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has:  # else it was cancelled while it waited for another
            self._end()

    async def yield_if_used_up(self) -> None:
        """Let others work, if it is their turn."""
        if self._turns.lasts_too_long(time.perf_counter() - self._began):
            self._end()
            await self._begin()

    async def _begin(self) -> None:
        await self._turns.begin()
        self._has = True
        self._began = time.perf_counter()

    def _end(self) -> None:
        self._has = False
        self._turns.end(time.perf_counter() - self._began)
