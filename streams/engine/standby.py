"""``Standby``: one partition of another worker, whose changelog this worker follows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Final

from ecounters.changelog.entries import POSITION, Entry
from ecounters.changelog.fitting import misfit_of
from ecounters.partition.following import FollowedState
from ecounters.partition.state import PartitionState
from streams.basics.slices import Slice
from streams.basics.times import now_ms
from streams.engine.context import WorkerContext
from streams.engine.discarding import discard
from streams.kafka.changelog_follower import Fetched
from streams.kafka.topics import CHANGELOG_STALE_MS

WAITING_MAX: Final = 100_000
"""So many entries of a flush wait for its end at most. With more, they are applied at once, and nobody is answered
until the end has come."""


class CannotFollow(Exception):
    """The changelog is not one from which this worker could go on."""


class Stale(CannotFollow):
    """The standby has not been at the end of the changelog for too long: it has to begin anew."""


class Standby:
    """One partition that is followed. Hold ``lock`` to change it; a reply may be made of ``state`` while nobody does.

    ``next_offset``: that of the changelog after all that is applied or waits; None: not known yet. ``flushed_ms``: when
    a flush was read last. ``current_ms``: when it was at the changelog's end last. Both by the wall clock.
    """

    def __init__(self, partition: int, context: WorkerContext) -> None:
        settings = context.settings
        self.partition = partition
        self.lock = asyncio.Lock()
        self.next_offset: int | None = None
        self.flushed_ms = self.current_ms = now_ms()
        self._context = context
        self._followed: FollowedState | None = FollowedState(partition, settings.partitions, settings.policy)
        self._gone_on: PartitionState | None = None  # the state, once its partition is this worker's
        self._waiting: list[Entry] = []
        self._is_whole = False
        self._at_flush = True  # whether what is applied ends with a flush
        self._handed_out: tuple[int, list[Entry]] | None = None  # how many entries it had then, and what waited
        self._is_taken_in = False  # its next owner has begun to read on
        self._is_at_end = False  # and has read all

    @property
    def state(self) -> PartitionState | None:
        """The state as of the last flush that was read; None before all has been read once."""
        return self._followed.state if self._followed is not None and self._is_whole else self._gone_on

    @property
    def can_follow(self) -> bool:
        """Whether it can be followed on: nobody has done anything else with it."""
        return self._followed is not None and not self._is_taken_in

    @property
    def entries(self) -> int:
        """How many entries were applied."""
        return self._followed.entries if self._followed is not None else 0

    @property
    def is_stale(self) -> bool:
        """Whether it has not been at the changelog's end for too long to go on."""
        return now_ms() - self.current_ms > CHANGELOG_STALE_MS

    def close(self) -> None:
        """Discard what was followed, in the background, unless it was handed out."""
        followed, self._followed, self._waiting = self._followed, None, []
        if followed is not None:
            discard(followed.discarding(), self._context, self.lock)

    def hand_out(self) -> FollowedState | None:
        """What was followed, for the use of the caller, who must hold ``lock``; None if it is of no use.

        Replies are still made of ``state``: call ``go_on`` or ``close`` when it is restored or is not. If the caller
        could not read all, it may call this again, and read on from ``next_offset`` as the first time. What it has read
        already is applied again then, and until the end nobody is answered: older flushes would be among newer ones.
        """
        if self._followed is None or self.is_stale or self.next_offset is None:
            return None
        if self._handed_out is None or not self._is_taken_in:
            self._handed_out = self._followed.entries, self._waiting
        else:
            self._is_whole = False
        self._followed.entries, self._waiting = self._handed_out[0], [*self._handed_out[1]]
        return self._followed

    def go_on(self) -> None:
        """Note that somebody else has the state that was handed out. Replies are made of it until ``forget``."""
        followed, self._followed = self._followed, None
        self._gone_on = followed.state if followed is not None else None

    def leave(self) -> PartitionState | None:
        """The state, for replies of the caller alone, if its next owner has read all and not gone on; else None."""
        if self._followed is None or not self._is_at_end:
            return None
        state, self._followed = self._followed.state, None
        return state

    def forget(self) -> None:
        """Make no replies any more of the state that somebody else has."""
        self._gone_on = None

    async def take_in(self, entries: list[Entry]) -> None:
        """Take in what the next owner has read, as ``read`` does. Takes ``lock``."""
        assert self._followed is not None, "it was closed"
        self._is_taken_in = True
        async with self.lock, Slice(self._context.slices) as time_slice:
            for _ in self._taking_in(self._followed, entries):
                await time_slice.yield_if_used_up()
            if self._followed.unreadable:  # until the end it may be taken out again
                self._is_whole = False

    async def end(self) -> None:
        """Apply what waits: the next owner has read all. Takes ``lock``. Raises UnreadableEntries."""
        assert self._followed is not None, "it was closed"
        async with self.lock, Slice(self._context.slices) as time_slice:
            for _ in self._apply(self._followed):
                await time_slice.yield_if_used_up()
        self._followed.check()
        self._is_at_end = True

    async def read(self, fetched: Fetched) -> None:
        """Take in what was fetched: apply whole flushes, and let the rest wait. Hold ``lock``.

        Raises CannotFollow, UnreadableEntries, or CorruptRecordException as ``Fetched.runs``.
        """
        followed = self._followed
        if followed is None:
            return
        if self.is_stale:
            raise Stale("this worker has not been at the end of its changelog for too long")
        before = followed.entries
        async with aclosing(fetched.runs()) as runs:
            async for run in runs:
                async with Slice(self._context.slices) as time_slice:
                    for entries in run:
                        for _ in self._taking_in(followed, entries):
                            await time_slice.yield_if_used_up()
                        await time_slice.yield_if_used_up()
        if followed.entries > before:
            self.flushed_ms = now_ms()
            self._context.metrics.standbys.entries.inc(followed.entries - before)
            if self._is_whole and not self._waiting:
                self._check(followed)
        if fetched.next_offset is not None:
            self.next_offset = fetched.next_offset

    def look(self, end: int | None, told_ms: int | None) -> None:
        """Note the end of the changelog: from there on, at the end of a flush, the state is whole.

        Raises UnreadableEntries or CannotFollow.
        """
        if self._followed is None or self.next_offset is None or end is None or told_ms is None:
            return
        if self.next_offset >= end:
            self.current_ms = max(self.current_ms, told_ms)
            if not self._is_whole and self._at_flush:
                self._check(self._followed)
                self._is_whole = True

    def _taking_in(self, followed: FollowedState, entries: list[Entry]) -> Iterator[None]:
        """Apply whole flushes, and let the rest wait; if it is too much, or nobody is answered, apply that too."""
        end = next((at for at in range(len(entries), 0, -1) if entries[at - 1][0] == POSITION), 0)
        for some in entries[:end], entries[end:]:
            self._waiting += some
            is_flush = bool(self._waiting) and self._waiting[-1][0] == POSITION
            if is_flush or not self._is_whole or len(self._waiting) > WAITING_MAX:
                self._is_whole = self._is_whole and is_flush
                yield from self._apply(followed)

    def _apply(self, followed: FollowedState) -> Iterator[None]:
        entries, self._waiting = self._waiting, []
        if not entries:
            return
        yield from followed.applying(entries)
        self._at_flush = entries[-1][0] == POSITION

    def _check(self, followed: FollowedState) -> None:
        followed.check()
        binding = followed.state.binding
        if binding is not None and (why := misfit_of(binding, self._context.binding.log)):
            raise CannotFollow(why)
