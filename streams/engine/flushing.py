"""``PartitionFlusher``: decides when a partition's changes are written to its changelog, and writes them."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from ecounters.changelog.entries import POSITION
from ecounters.partition.records import Uncounted
from ecounters.partition.state import PartitionState
from streams.basics.slices import Slice
from streams.engine.context import WorkerContext
from streams.engine.dead_letters import UncountedBuffer
from streams.engine.feed import PartitionFeed
from streams.engine.restore import Changelog, Writer
from streams.engine.sending import UncountedSender
from streams.engine.status import PartitionStatus
from streams.kafka.changelog_writer import LeftOut, NotWritten
from streams.kafka.outbox import Outbox
from streams.metrics.catalogue import FAILED, FENCED, UNCONFIRMED

log = logging.getLogger(__name__)

ENTRIES_PER_STEP: Final = 5
"""So many changelog entries are made between two checks of the time slice: about 0.05 ms of work, but some 10 ms if
each is of a call with 1,000 DTMF inputs."""
BUSY_INTERVALS: Final = 5
"""A busy partition is flushed only every fifth interval, or when it has ``bytes_max`` unsaved bytes. The same calls
change again soon, so fewer and larger flushes write less."""
BUSY_MS_MAX: Final = 10_000
"""It waits for fewer intervals if five of them together are longer than this."""
BUSY_SHARE: Final = 1 / 16
"""This share of ``bytes_max`` is much to save: 1 MB by default, some 4,000 entries. See ``_is_busy``."""
TICKS_PER_INTERVAL: Final = 8
"""The flushes of all partitions begin at so many moments of an interval."""
UNSAVED_FLUSHES_MAX: Final = 4
"""If a partition has more unsaved bytes than so many times ``bytes_max``, applying a batch flushes and waits for the
end of the flush. This bounds the memory."""


class PartitionFlusher:
    """Writes the changes of one partition to its changelog.

    One flush is one transaction: the changed entries, the position last, and the dead letters of the same events.
    Misrouted events are sent to their partitions before the transaction: once its position is committed, this
    partition never reads them again. Those that come while others are sent go right before the transaction.

        state_lock                           |-- collect changes --|
        flush_lock |-- republish misrouted --|-- collect changes --|-- republish more --|-- write the transaction --|

    ``flush_lock`` allows one flush at a time. ``state_lock`` (see ``PartitionStatus``) is taken inside ``flush_lock``
    and is held only while changes are collected. So events are applied while the flush waits for the broker.

    Before anything is sent, a broker has to say that the topics are still the same (``TopicsWatch``).

    A failed flush sets ``status.live`` to False. The state has already marked the collected changes as saved, although
    they are not. So this state must never be flushed again, and the partition is restored from the changelog.
    """

    def __init__(
        self,
        status: PartitionStatus,
        changelog: Changelog,
        uncounted: UncountedBuffer,
        feed: PartitionFeed,
        context: WorkerContext,
    ) -> None:
        self._status = status
        self._changelog = changelog
        self._uncounted = uncounted
        self._feed = feed
        self._context = context
        self._settings = context.settings.flush
        self._flush_lock = asyncio.Lock()
        self._sender = UncountedSender(status, uncounted, context, self._confirm_topics, self.is_overdue)
        self._requested = False  # True: wait_until_due returns before its interval is over
        self._wake_up = asyncio.Event()

    # ------------------------------------------------------------------------------------------------ when

    async def wait_until_due(self) -> bool:
        """Wait until the next flush is due, and return True; return False if the partition is not live when an interval
        begins.

        After True the partition may have ceased to be live: a failed flush also ends the wait. The wait ends at once
        when a flush is requested. Otherwise it takes one interval; while the partition is busy, up to BUSY_INTERVALS
        of them, or as many as BUSY_MS_MAX holds.
        """
        most = min(BUSY_INTERVALS, BUSY_MS_MAX // self._settings.interval_ms)
        waited, position = 0, self._position()
        while self._status.live:
            await self._wait_for_interval()
            waited += 1
            before, position = position, self._position()
            if self._requested or waited >= most or not self._is_busy(has_moved=position != before):
                self._requested = False
                return True
        return False

    def _position(self) -> int:
        state = self._status.state
        return 0 if state is None else state.position

    def _is_busy(self, *, has_moved: bool) -> bool:
        """Whether the partition is busy: its next flush may wait.

        It is if events came in the last interval (``has_moved``) and more than BUSY_SHARE is unsaved; or if it is far
        behind the log's end, with anything to save. It never is while the flush has to send misrouted events on, which
        nobody counts before, or while ``feed.follow`` is due before the flush (``status.following`` is False).
        """
        state = self._status.state
        if state is None or self._uncounted.misrouted or not self._status.following:
            return False
        if has_moved and self._unsaved_bytes(state) > self._settings.bytes_max * BUSY_SHARE:
            return True
        has_changes = state.changed or state.position != self._status.flushed_offset
        return has_changes and self._feed.is_far_behind()

    async def _wait_for_interval(self) -> None:
        """Wait for ``interval_ms`` and up to a TICKS_PER_INTERVAL-th of it more, or until a flush is requested.

        The event loop wakes at the same times for all partitions: a worker may have hundreds. A plain timer does for
        it; ``asyncio.timeout`` takes three times as long.
        """
        if self._requested:
            return
        loop = asyncio.get_running_loop()
        self._wake_up.clear()
        interval_s = self._settings.interval_ms / 1000
        tick_s = interval_s / TICKS_PER_INTERVAL
        timer = loop.call_at(math.ceil((loop.time() + interval_s) / tick_s) * tick_s, self._wake_up.set)
        try:
            await self._wake_up.wait()
        finally:
            timer.cancel()

    def _request(self) -> None:
        """Let ``wait_until_due`` return at once."""
        self._requested = True
        self._wake_up.set()

    async def flush_if_large(self, state: PartitionState) -> None:
        """Request a flush if more than ``bytes_max`` bytes are unsaved. Called after each batch.

        Above UNSAVED_FLUSHES_MAX times ``bytes_max``, flushes and waits for the end of the flush instead.
        """
        if self.is_overdue(state):
            await self.flush()
        elif self._unsaved_bytes(state) > self._settings.bytes_max:
            self._request()

    def is_overdue(self, state: PartitionState) -> bool:
        """Whether so much is unsaved that nothing more may be applied before a flush."""
        return self._unsaved_bytes(state) > self._settings.bytes_max * UNSAVED_FLUSHES_MAX

    def _unsaved_bytes(self, state: PartitionState) -> int:
        return state.dirty_bytes + self._uncounted.bytes

    # ------------------------------------------------------------------------------------------------- how

    async def flush(self, *, always: bool = False) -> bool:
        """Write all changes in one transaction, after any flush that is under way.

        Returns True if all changes made before the call are saved.
        Returns False if the partition is not live, or if the flush failed with NotWritten or KafkaError; after such a
        failure the partition restores itself. Any other error, and a cancellation, is raised. ``status.live`` is False
        after every failure of a flush that had begun.

        ``always``: write the position even if nothing has changed, to find out whether another worker has taken the
        changelog over.
        """
        status = self._status
        async with self._flush_lock:
            state, writer = status.state, self._changelog.writer
            if state is None or writer is None or not status.live:
                return False
            try:
                return await self._flush(state, writer, always=always)
            except (NotWritten, KafkaError) as error:
                if status.live:
                    log.warning("partition %s could not be flushed, restoring it: %s", status.partition, error)
                    self._context.metrics.flush_failures.labels(FENCED if _is_fenced(error) else FAILED).inc()
                status.live = False
                self._request()  # ends wait_until_due; the restore begins after the pause that _run makes first
                return False
            except BaseException:
                status.live = False
                raise

    async def _flush(self, state: PartitionState, writer: Writer, *, always: bool) -> bool:
        status = self._status
        if not await self._sender.send(state, writer, always=always):
            return False
        async with status.state_lock:
            if status.state is not state:
                return False  # released or restored while this flush waited: the state may be empty by now
            saved = not state.changed and state.position == status.flushed_offset and not self._uncounted.dead_letters
            collected_s = time.monotonic()
            if saved and max(status.committed_offset, 0) == status.flushed_offset:
                status.commit_due_s = collected_s
            must_bind = status.unbound and state.binding is not None  # the changelog does not say yet of which topic
            if saved and not always and not must_bind:
                return True
            outbox = writer.outbox()
            misrouted = await self._collect_changes(state, outbox)
            position, is_bound = state.position, state.binding is not None
        if not await self._confirm_topics():
            return False
        began = time.perf_counter()
        for dead_letter in self._uncounted.dead_letters_of(await self._context.events.republish(misrouted)):
            outbox.add_dead_letter(dead_letter)
        size = outbox.bytes
        left_out = await writer.write(outbox)
        status.flushed_offset, status.flushed_s, status.unbound = position, collected_s, not is_bound
        status.entries += outbox.entries
        if left_out:
            self._report(left_out)
        self._context.metrics.flushes.observe(time.perf_counter() - began)
        self._context.metrics.flushed_entries.inc(outbox.entries)
        self._context.metrics.flushed_bytes.inc(size)
        return True

    async def _confirm_topics(self) -> bool:
        """Whether a broker says that the topics are the same: what was read may be of others. If not, restore."""
        status, topics = self._status, self._context.topics
        if await topics.confirm():
            return True
        if topics.stopped is None:
            log.warning("partition %s is not flushed: Kafka does not say that topics are the same", status.partition)
        status.live = False
        self._context.metrics.flush_failures.labels(UNCONFIRMED).inc()
        self._request()
        return False

    def is_full(self) -> bool:
        """Whether uncounted records cannot be sent away, and so much is unsaved that nothing more may be applied."""
        state = self._status.state
        return self._status.kept_letters > 0 and state is not None and self.is_overdue(state)

    def _report(self, left_out: Sequence[LeftOut]) -> None:
        """Log what Kafka did not take, each kind once with its largest, and count all in a metric."""
        self._context.metrics.left_out.inc(len(left_out))
        for kind in sorted({record.kind for record in left_out}):
            of_kind = [record for record in left_out if record.kind == kind]
            largest = max(of_kind, key=lambda record: record.size)
            log.error(
                "partition %s: %s records of kind %s, of up to %s bytes%s, are larger than max.message.bytes of "
                "their topic and were left out: they are missing after a restore",
                self._status.partition, len(of_kind), kind, largest.size,
                f" (event at offset {largest.offset})" if largest.offset else "",
            )  # fmt: skip

    async def _collect_changes(self, state: PartitionState, outbox: Outbox) -> list[Uncounted]:
        """Put all changes and dead letters into the outbox, and return the misrouted events. Hold ``state_lock``.

        The state then counts its changes as saved, and the buffer of uncounted records is empty.
        """
        dead_letters, misrouted = self._uncounted.drain()
        async with Slice(self._context.slices) as time_slice:
            with closing(state.take_changes()) as entries:
                while outbox.add_entries(entries, ENTRIES_PER_STEP):
                    await time_slice.yield_if_used_up()
            while dead_letters:
                outbox.add_dead_letter(dead_letters.popleft())
                await time_slice.yield_if_used_up()
        assert outbox.last_key == POSITION  # it covers all entries before it
        return misrouted


def _is_fenced(error: BaseException | None) -> bool:
    """Whether an error came of another worker's takeover: the error itself, or one that it was raised from."""
    while error is not None:
        if isinstance(error, ProducerFenced | InvalidProducerEpoch):
            return True
        error = error.__cause__
    return False
