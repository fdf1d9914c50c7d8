"""``UncountedSender``: sends what a partition did not count to where it belongs, before each flush."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.errors import KafkaError

from ecounters.partition.state import PartitionState
from streams.basics.repeated import LogAgain
from streams.basics.text import one_line
from streams.engine.context import WorkerContext
from streams.engine.dead_letters import UncountedBuffer
from streams.engine.restore import Writer
from streams.engine.status import PartitionStatus, Waiting

log = logging.getLogger(__name__)

KEPT_RETRY_S: Final = 10.0
"""Uncounted records that could not be sent are tried again after this time."""


class _Attempt:
    """Something that is tried again KEPT_RETRY_S after it has failed. ``why``: why it failed; "" if it did not."""

    why: str = ""
    _again_s: float = 0.0  # monotonic

    def is_due(self) -> bool:
        """Whether it has not failed, or long enough ago."""
        return not self.why or time.monotonic() >= self._again_s

    def note(self, why: str) -> None:
        """Note how it ended."""
        self.why, self._again_s = why, time.monotonic() + KEPT_RETRY_S


class UncountedSender:
    """Sends misrouted events to their partitions, and begins the transaction that will have dead letters.

    If one of both cannot be done, nothing may be flushed: a position without these records would lose them. The state
    counts on, its changes and the records stay in memory (``status.kept_letters``), and after a crash their events are
    read again.
    """

    def __init__(
        self,
        status: PartitionStatus,
        uncounted: UncountedBuffer,
        context: WorkerContext,
        confirm: Callable[[], Awaitable[bool]],
        is_overdue: Callable[[PartitionState], bool],
    ) -> None:
        """``confirm``: whether the topics are the same. ``is_overdue``: whether nothing more may be applied before a
        flush."""
        self._status = status
        self._uncounted = uncounted
        self._context = context
        self._confirm = confirm
        self._is_overdue = is_overdue
        self._misrouted = _Attempt()
        self._dead_letters = _Attempt()
        self._log_again = LogAgain()  # that records are kept

    async def send(self, state: PartitionState, writer: Writer, *, always: bool) -> bool:
        """Send all, and return whether a flush may go on. Tries again what failed if it is due, or with ``always``.

        Misrouted events are sent even if the topic of dead letters refuses: they are of other accounts. Hold
        ``flush_lock``. Raises NotWritten as ``begin_with_dead_letters`` does.
        """
        uncounted = self._uncounted
        if uncounted.misrouted and (always or self._misrouted.is_due()) and not await self._send_on(state):
            return False
        if not uncounted.misrouted:
            self._misrouted.note("")
        kept = len(uncounted.misrouted) if self._misrouted.why else 0
        if not uncounted.dead_letters:
            self._dead_letters.note("")
        elif not kept and (always or self._dead_letters.is_due()):
            why = await writer.begin_with_dead_letters()
            topic = self._context.settings.changelog.dlq_topic
            self._dead_letters.note(why and f"topic {topic} refuses dead letters: {why}")
        if self._status.state is not state or not self._status.live:
            return False
        if kept or self._dead_letters.why:
            kept += len(uncounted.dead_letters)
        self._keep(state, kept)
        return not kept

    async def _send_on(self, state: PartitionState) -> bool:
        """Send the misrouted events to their partitions. Those that are refused there become dead letters.

        Returns False if the topics are not the same, or the partition is not live any more, or was restored meanwhile:
        then their events are read again.
        """
        if not await self._confirm():
            return False
        (misrouted, size), why, refused = self._uncounted.take_misrouted(), "", []
        try:
            refused = await self._context.events.republish(misrouted)
        except KafkaError as error:
            why = f"misrouted events cannot be sent to their partitions: {one_line(error)}"
        if self._status.state is not state or not self._status.live:
            return False
        self._misrouted.note(why)
        if why:
            self._uncounted.put_back(misrouted, size)
        else:
            self._uncounted.add_refused(refused)
        return True

    def _keep(self, state: PartitionState, kept: int) -> None:
        """Note in the status how many records are kept, and whether there is room for more."""
        status = self._status
        if not kept and not status.kept_letters:
            return
        status.kept_letters, status.waiting = kept, None
        why = self._misrouted.why or self._dead_letters.why
        if kept and self._is_overdue(state):
            text = f"partition {status.partition} cannot count further; the operator of this service has to act"
            status.waiting = Waiting(text, f"partition {status.partition} waits: {why}")
        if kept and self._log_again.is_due():
            log.error(
                "partition %s keeps %s records that it did not count, and saves nothing: %s",
                status.partition, kept, why,
            )  # fmt: skip
