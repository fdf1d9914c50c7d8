"""Standbys: partitions of other workers whose changelogs this worker follows, to answer and to go on when they die.

    owner      flush ── flush ── flush ── dies
    standby    reads its changelog, all    answers from the last flush: incomplete    takes it over: reads only the rest
               along: one task for all     until the group has assigned the partition

Who is a standby is computed, by each worker alike, from what the group's last assignment says (``standbys_of``). So
nobody has to agree on it. A standby has no writer: nothing of it can be flushed before ``PartitionChangelog.restore``
has taken the transactional id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Final, NoReturn

from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, KafkaError

from ecounters.changelog.entries import UnreadableEntries
from ecounters.partition.state import PartitionState
from streams.basics.repeated import LogAgain
from streams.basics.tasks import end_tasks
from streams.basics.text import named
from streams.engine.context import WorkerContext
from streams.engine.kept import KeptStates
from streams.engine.standby import CannotFollow, Stale, Standby
from streams.kafka.changelog_follower import ChangelogFollower, Fetched

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
"""How often the task looks which partitions it has to follow, while nothing is fetched."""
PAUSE_S: Final = 5.0
"""After an error of Kafka the task connects again after this time."""
AGAIN_S: Final = 600.0
"""A changelog that cannot be followed is read again after this time: somebody may have repaired it."""
LOCKED_MAX_S: Final = 0.5
"""A question waits so long at most while a flush is applied."""


def standbys_of(partition: int, owner: str | None, members: Collection[str], count: int) -> list[str]:
    """URLs of the ``count`` workers that follow a partition: of all but its owner those with the highest hashes.

    A worker that joins or leaves changes the standbys of those partitions alone whose standby it becomes or was.
    """

    def rank(url: str) -> bytes:
        return blake2b(f"{partition} {url}".encode(), digest_size=8).digest()

    return sorted((url for url in members if url != owner), key=rank, reverse=True)[:count]


class Standbys:
    """The partitions that this worker follows. Only the event loop's thread may change them.

    ``settings.standbys`` of the context: how many workers follow each partition; with 0 nothing is done.
    """

    def __init__(self, context: WorkerContext) -> None:
        self.count = context.settings.standbys
        self._context = context
        self._followed: dict[int, Standby] = {}
        self._taken: dict[int, Standby] = {}  # those that this worker takes over
        self._again_s: dict[int, float] = {}  # those that cannot be followed -> when they are tried again, loop time
        self._said: dict[int, str] = {}  # why, as it was logged
        self._wanted: frozenset[int] = frozenset()
        self._log_again = LogAgain()
        self._follower: ChangelogFollower | None = None
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------ who asks

    def get(self, partition: int) -> Standby | None:
        """The standby of a partition, also one that is being taken over."""
        return self._taken.get(partition) or self._followed.get(partition)

    def whole(self) -> list[int]:
        """The partitions that are followed and of which there is a state to answer from. From any thread."""
        return sorted(one.partition for one in list(self._followed.values()) if one.state is not None)

    def positions(self) -> dict[int, int]:
        """partition -> the position of a state to answer from, also of one that is taken over. From any thread."""
        found = {**self._followed, **self._taken}
        return {at: state.position for at, one in found.items() if (state := one.state) is not None}

    def forget(self, state: PartitionState) -> bool:
        """Make no replies any more of the state of a partition that this worker gives up: it may be emptied.

        Returns whether this worker has followed the state before, so that replies were made of it.
        """
        standby = self._taken.get(state.partition)
        if standby is None or standby.state is not state:
            return False
        standby.forget()
        return True

    @property
    def wanted(self) -> int:
        """How many partitions this worker has to follow, also those that it cannot, or still follows."""
        return len(self._wanted | self._followed.keys())

    def lag(self) -> dict[int, int]:
        """partition -> offsets of its changelog that have not been read yet."""
        found = {}
        for partition, standby in self._followed.items():
            end = self._follower.end_of(partition)[0] if self._follower is not None else None
            found[partition] = max(0, end - (standby.next_offset or 0)) if end is not None else 0
        return found

    async def is_whole(self, partition: int) -> bool:
        """Whether there is a state of a partition to answer from, before the next ``await``.

        Waits while a flush is being applied, LOCKED_MAX_S at most.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCKED_MAX_S):
                while (standby := self.get(partition)) is not None and standby.state is not None:
                    if not standby.lock.locked():
                        return True
                    async with standby.lock:
                        pass
        return False

    # --------------------------------------------------------------------------------------- assignments

    def follow(self, owners: Mapping[int, str], members: Collection[str], own: str, held: Collection[int] = ()) -> None:
        """Follow what this worker, at the URL ``own``, has to follow by an assignment. Returns at once.

        ``held``: partitions whose owners have no state yet, while this worker may have one. It goes on with it until
        their owners have said that they answer.
        """
        if not self.count:
            return
        partitions = range(self._context.settings.partitions)
        self._wanted = frozenset(
            one for one in partitions if own in standbys_of(one, owners.get(one), members, self.count)
        )
        for partition in set(self._followed) - self._wanted - set(held):
            self._followed.pop(partition).close()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="standbys")

    def take(self, partition: int) -> Standby | None:
        """The standby of a partition that was assigned to this worker. It is not followed any more."""
        self._wanted -= {partition}
        standby = self._followed.pop(partition, None)
        if standby is not None:
            self._taken[partition] = standby
        return standby

    def give_up(self, partition: int, kept: KeptStates | None) -> None:
        """Note that a partition that this worker was taking over is not its own any more; its restore has ended.

        The standby is followed on if nothing was done with it. Else its state goes into ``kept``, if it is of use: its
        next owner has none yet. ``kept`` is None if nobody may ask for it.
        """
        standby = self._taken.pop(partition, None)
        if standby is None:
            return
        if standby.can_follow:
            self._followed[partition] = standby
        elif kept is not None and (state := standby.leave()) is not None:
            kept.keep(state, standby.lock)
        else:
            standby.close()

    def answered(self, partition: int) -> None:
        """Note that the owner of a partition answers: this worker follows it no more, unless it has to."""
        if partition not in self._wanted and (standby := self._followed.pop(partition, None)) is not None:
            standby.close()

    async def stop(self) -> None:
        """End the task, and discard all states."""
        if self._task is not None:
            await end_tasks(self._task)
        self._drop_all()

    def _drop_all(self) -> None:
        while self._followed:
            self._followed.popitem()[1].close()

    # ------------------------------------------------------------------------------------------ the task

    async def _run(self) -> None:
        """Follow until cancelled. No error of a standby ends the worker: it is logged, and what failed begins again."""
        while True:
            try:
                await self._connect_and_follow()
            except (KafkaError, OSError, ConsumerStoppedError) as error:
                if self._log_again.is_due():
                    log.warning("standbys cannot be followed now, again in %s s: %s", PAUSE_S, named(error))
                await asyncio.sleep(PAUSE_S)
            except Exception:
                log.exception("standbys cannot be followed, anew in %s s: this must not happen", AGAIN_S)
                self._drop_all()
                await asyncio.sleep(AGAIN_S)

    async def _connect_and_follow(self) -> None:
        self._follower = ChangelogFollower(self._context.readers.kafka, self._context.settings.changelog.topic)
        try:
            await self._follower.start()
            await self._follow(self._follower)
        finally:
            follower, self._follower = self._follower, None
            await follower.stop()

    async def _follow(self, follower: ChangelogFollower) -> NoReturn:
        assigned: dict[int, Standby] = {}
        look_at_s, loop = 0.0, asyncio.get_running_loop()
        while True:
            if self._context.topics.stopped is not None:
                self._drop_all()
            else:
                self._begin()
            if assigned != self._followed:
                assigned = dict(self._followed)
                await self._assign(follower, assigned)
            if not assigned:
                await asyncio.sleep(POLL_S)
                continue
            if (fetched := await follower.next(POLL_S)) is not None:
                await self._read(fetched)
                fetched.done()
                if (standby := assigned.get(fetched.partition)) is not None:
                    self._look(follower, standby)
            if loop.time() >= look_at_s:
                look_at_s = loop.time() + POLL_S
                for standby in assigned.values():
                    self._look(follower, standby)

    def _begin(self) -> None:
        """Make a new standby of each partition that is wanted, has none, and may be tried."""
        now_s = asyncio.get_running_loop().time()
        for partition in self._wanted - set(self._followed):
            if self._again_s.get(partition, 0.0) <= now_s:
                self._followed[partition] = Standby(partition, self._context)

    async def _assign(self, follower: ChangelogFollower, standbys: Mapping[int, Standby]) -> None:
        known = {at: one.next_offset for at, one in standbys.items() if one.next_offset is not None}
        for partition, offset in (await follower.assign(list(standbys), known)).items():
            standbys[partition].next_offset = offset

    async def _read(self, fetched: Fetched) -> None:
        standby = self._followed.get(fetched.partition)
        if standby is None:
            return
        try:
            if fetched.error is not None:
                raise fetched.error
            async with standby.lock:
                if self._followed.get(fetched.partition) is standby:  # else it was taken while this waited
                    await standby.read(fetched)
        except (CannotFollow, UnreadableEntries, KafkaError, OSError) as error:  # OSError: no memory to unpack into
            self._give_up(standby, error)

    def _look(self, follower: ChangelogFollower, standby: Standby) -> None:
        if self._followed.get(standby.partition) is not standby:
            return  # it was taken or given up
        was_whole = standby.state is not None
        try:
            standby.look(*follower.end_of(standby.partition))
        except (CannotFollow, UnreadableEntries) as error:
            self._give_up(standby, error)
            return
        if standby.state is not None and not was_whole:
            self._said.pop(standby.partition, None)
            log.info("partition %s is followed: %s entries", standby.partition, standby.entries)

    def _give_up(self, standby: Standby, error: Exception) -> None:
        """Discard a standby; it begins anew after AGAIN_S, a stale one at once. The log says why, once."""
        partition, pause_s = standby.partition, 0.0 if isinstance(error, Stale) else AGAIN_S
        if self._followed.get(partition) is standby:
            del self._followed[partition]
        standby.close()
        self._again_s[partition] = asyncio.get_running_loop().time() + pause_s
        why = str(error) if isinstance(error, CannotFollow | UnreadableEntries) else named(error)
        if self._said.get(partition) != why:
            self._said[partition] = why
            level = logging.ERROR if isinstance(error, CorruptRecordException | UnreadableEntries) else logging.WARNING
            log.log(level, "partition %s is not followed, again in %s s: %s", partition, pause_s, why)
