"""A standby holds no time slice while something is unpacked, and is given up if that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from errno import ENOMEM

from ecounters.changelog.entries import FORMAT, Entry, position_entry
from ecounters.changelog.saved import Position
from streams.basics.slices import TimeSlices
from streams.engine.standby import Standby
from streams.engine.standbys import Standbys
from tests.support.engine_fakes import BINDING, PARTITION, new_fixture


class Fetched:
    """Two runs of one entry each. ``held``: whether a slice was held before each run, and while it was decoded."""

    partition = PARTITION
    next_offset = 2
    error = None

    def __init__(self, slices: TimeSlices, fails: OSError | None = None) -> None:
        """``fails``: raised in place of the second run."""
        self.held: list[bool] = []
        self._slices = slices
        self._fails = fails

    async def runs(self) -> AsyncGenerator[Iterator[list[Entry]]]:
        """The runs."""
        for offset in (5, 6):
            if offset == 6 and self._fails is not None:
                raise self._fails
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


def test_a_standby_that_took_in_a_part_is_given_up_without_memory_to_unpack_the_rest() -> None:
    """It would read on from before that part, and older flushes would be among newer ones."""

    async def run() -> None:
        standbys = Standbys(new_fixture().context)
        standby = standbys._followed[PARTITION] = Standby(PARTITION, standbys._context)
        await standbys._read(Fetched(standbys._context.slices, OSError(ENOMEM, "")))  # type: ignore[arg-type]
        assert (standbys._followed, standby.state) == ({}, None)

    asyncio.run(run())
