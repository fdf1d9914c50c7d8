"""A standby holds its time slice while it decodes and applies, and not while something is unpacked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from ecounters.changelog.entries import FORMAT, Entry, position_entry
from ecounters.changelog.saved import Position
from streams.basics.slices import TimeSlices
from streams.engine.standby import Standby
from tests.support.engine_fakes import BINDING, PARTITION, new_fixture


class Fetched:
    """Two runs of one entry each. ``held``: whether a slice was held before each run, and while it was decoded."""

    next_offset = 2

    def __init__(self, slices: TimeSlices) -> None:
        self.held: list[bool] = []
        self._slices = slices

    async def runs(self) -> AsyncGenerator[Iterator[list[Entry]]]:
        """The runs."""
        for offset in (5, 6):
            self.held.append(self._slices._is_held)
            yield self._lists(offset)

    def _lists(self, offset: int) -> Iterator[list[Entry]]:
        self.held.append(self._slices._is_held)
        yield [position_entry(Position(FORMAT, offset, 0, 0, BINDING))]


def test_no_time_slice_is_held_between_two_runs() -> None:
    """What is packed is unpacked there, in a thread: all other heavy work waited for it."""

    async def run() -> None:
        context = new_fixture().context
        standby, fetched = Standby(PARTITION, context), Fetched(context.slices)
        async with standby.lock:
            await standby.read(fetched)  # type: ignore[arg-type]
        assert fetched.held == [False, True, False, True]
        assert (standby.entries, standby.next_offset, context.slices._is_held) == (2, 2, False)

    asyncio.run(run())
