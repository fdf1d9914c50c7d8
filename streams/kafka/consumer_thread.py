"""The thread in which aiokafka's consumer runs, so that fetches and heartbeats go on while the worker is busy.

``streams.kafka.consumer`` is the counterpart on the worker's event loop. Its docstring says what both are for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.basics.text import named
from streams.kafka import internals
from streams.kafka.batches import Batch, next_batch
from streams.kafka.clients import Fetch, false_if_cancelled
from streams.kafka.fetched import prepare
from streams.kafka.group import Assignor, guard_coordinator
from streams.kafka.transport_app import TransportApp

IDLE_AFTER_S: Final = 1.0
"""After so long without records brokers may hold fetch requests for longer."""
LEAVE_LIMIT_S: Final = 1.5
"""How long a broker may take to reply when the group is left amid a rebalance: a fetch may be held before that."""
EMPTY_FETCH_S: Final = 0.01
"""The least time that a fetch without records takes. A broker may reply at once, although a fetch request lets it wait
for records. Such a broker would get 2,000 requests a second for nothing."""
REFUSED_PAUSE_S: Final = 1.0
"""After this time a partition that a broker has refused to send is fetched again. It replies at once too."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer, with batches in place of records.

    Everything that is awaited on aiokafka's consumer runs in this thread. ``follow`` and ``fetch_state`` are called
    from the worker's event loop.
    """

    app: TransportApp

    def __post_init__(self) -> None:
        """Initialize our own attributes. Faust's constructor calls this method at its end."""
        super().__post_init__()
        # partition -> the end of its last batch, at which its next batch begins
        self._batch_ends: dict[TP, int] = {}
        self._unfetched: dict[TP, str] = {}  # partition -> why its last fetch failed
        self._fetch_again_s: dict[TP, float] = {}  # partition -> when it is fetched again after that, monotonic
        self._rejoin_requested = False
        self._idle: IdleFetches | None = None  # of the started consumer

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Make aiokafka's consumer as Faust does, but for committed records only and with the worker's own
        ``fetch_wait_ms``.

        Faust passes a fixed 1.5 s. aiokafka sends one fetch request at a time to a broker, without partitions whose
        records are still being read. While such a request waits for idle partitions, events of the others wait too.
        """
        consumer = super()._create_worker_consumer(transport)
        internals.set_fetch_wait(consumer, self.app.fetch_wait_ms)
        internals.read_committed(consumer)
        return consumer

    async def on_start(self) -> None:
        """Start aiokafka's consumer in this thread, then change it in three ways.

        1. What it fetches is divided into record batches, and checked (``streams.kafka.fetched``).
        2. A fetch without records lasts at least EMPTY_FETCH_S (``at_least``). When no records have come for a while,
           a broker may hold a fetch for longer (``IdleFetches``).
        3. Its membership in the group survives an empty assignment, and ends the worker if it breaks
           (``guard_coordinator``).

        This is the first moment at which the fetcher and the coordinator exist. No partition is assigned yet.
        """
        await super().on_start()
        consumer = self._ensure_consumer()
        prepare(consumer)
        internals.wrap_fetch(consumer, at_least(EMPTY_FETCH_S))
        self._idle = IdleFetches(
            partial(internals.set_next_fetch_wait, consumer), self.app.fetch_wait_ms, self.app.idle_fetch_wait_ms
        )
        internals.wrap_fetch(consumer, self._idle.wrap)
        guard_coordinator(internals.coordinator_of(consumer), self._crash_app)

    def _crash_app(self, error: BaseException) -> None:
        """End the worker with an error: aiokafka has given up on the group, and fetches nothing without a group."""
        asyncio.run_coroutine_threadsafe(self.app.crash(error), self.parent_loop)

    async def on_thread_stop(self) -> None:
        """Leave the group and stop aiokafka's consumer, in this thread.

        A static member leaves too. aiokafka alone would stop it without leaving, and no other worker would get its
        partitions before the session timeout: behind nginx, 5 % of the questions got no answer in three restarts, for
        4 s, and none do if it leaves (tests/README.md, "Moves").
        """
        if self._consumer is not None:
            internals.forget_instance_id(self._consumer)
            if self.app.rebalancing:
                await self._leave_amid_rebalance(self._consumer)
        await super().on_thread_stop()

    async def _leave_amid_rebalance(self, consumer: Any) -> None:
        """Leave the group while a request to join it may be under way, which a broker holds until all have joined.

        aiokafka's stop waits for that request, and would leave only then: longer than the worker may take to end. The
        broker ends it with an error when the member leaves. The message to leave goes over another connection, since a
        broker handles the requests of one connection one after the other. A failure is only logged.
        """
        coordinator = internals.coordinator_of(consumer)
        if coordinator.coordinator_id is None or not coordinator.member_id:
            return
        request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        try:
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await internals.client_of_fetches(consumer).send(coordinator.coordinator_id, request)
        except (KafkaError, OSError) as error:
            self.log.warning("the group was not left amid a rebalance: %s", named(error))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """At the end of a rebalance: pause all assigned partitions until ``follow`` says where to begin with each.

        If the assignment has an outdated URL of this worker, rejoin the group, once in the worker's life. A broker
        gives a restarted static member its old assignment without asking the leader, and the other workers would send
        their requests to the old URL.
        """
        self._ensure_consumer().pause(*map(driver.ensure_aiokafka_TP, assigned))
        await super().on_partitions_assigned(assigned, generation_id)
        if cast(Assignor, self.app.assignor).address_is_stale and not self._rejoin_requested:
            self._rejoin_requested = True
            internals.coordinator_of(self._ensure_consumer()).request_rejoin()

    async def follow(self, tp: TP, offset: int) -> None:
        """Fetch a partition's records from ``offset`` on. Raises IllegalStateError if the partition is not assigned."""
        await self.call_thread(self._follow, tp, offset)

    async def _follow(self, tp: TP, offset: int) -> None:
        consumer = self._ensure_consumer()
        if self._idle is not None:
            self._idle.note_activity()  # others may be followed next, which needs requests for offsets
        self._batch_ends.pop(tp, None)
        consumer.seek(driver.ensure_aiokafka_TP(tp), offset)
        consumer.resume(driver.ensure_aiokafka_TP(tp))

    async def _fetch_records(  # type: ignore[override]  # Batches in place of lists of records
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        **_: Any,
    ) -> dict[TP, Batch]:
        """partition -> a batch, for each active partition of which something was fetched.

        If there is none, waits once until something is fetched, at most ``timeout`` s, and may still return no batch.

        Raises ConsumerStoppedError if the consumer has been stopped. Replaces aiokafka's ``fetched_records``, which
        makes an object of 11 fields of every record at once, and goes on with the first partition as long as it has
        more.
        """
        fetcher = internals.open_fetcher(consumer)
        with internals.reading(fetcher):
            batches = self._take_batches(fetcher, active_partitions)
            if not batches:
                waiter = internals.until_fetched(fetcher)
                try:
                    await asyncio.wait([waiter], timeout=timeout)
                finally:
                    waiter.cancel()  # or the fetcher would keep it until something is fetched
                batches = self._take_batches(fetcher, active_partitions)
        return batches

    def _take_batches(self, fetcher: Any, active: set[TP]) -> dict[TP, Batch]:
        """Take a batch of each active partition out of what was fetched; none while the flow is stopped or the group
        rebalances.

        Drops what was fetched of partitions that are not assigned any more, or from another offset than ``follow`` has
        set. Lets the fetcher fetch more of partitions that are read to their end.

        A partition that cannot be fetched is logged, once, and fetched again after REFUSED_PAUSE_S; the others are none
        the worse. Replies for its users become incomplete, as no broker has replied to its fetches.
        """
        batches: dict[TP, Batch] = {}
        if not self.consumer.flow_active or internals.is_rebalancing(fetcher):
            return batches
        for tp, result in internals.fetched(fetcher):
            if tp not in active:
                if not internals.is_assigned(fetcher, tp):
                    internals.discard(fetcher, tp)
                continue
            if not isinstance(result, FetchResult):
                self._log_unfetched(tp, result)
                if time.monotonic() >= self._fetch_again_s.setdefault(tp, time.monotonic() + REFUSED_PAUSE_S):
                    del self._fetch_again_s[tp]
                    internals.fetch_again(fetcher, tp)
                continue
            self._unfetched.pop(tp, None)
            self._fetch_again_s.pop(tp, None)
            if result.check_assignment(tp) and result.has_more():
                batches[tp] = batch = next_batch(result, self._batch_ends.get(tp))
                self._batch_ends[tp] = batch.end
            if not result.has_more():
                internals.fetch_again(fetcher, tp)
        return batches

    def _log_unfetched(self, tp: TP, fetch_error: Any) -> None:
        """Log why a partition cannot be fetched, unless that was logged since it was last fetched."""
        try:
            fetch_error.check_raise()
        except KafkaError as error:
            why = named(error)
        if self._unfetched.get(tp) != why:
            self._unfetched[tp] = why
            self.log.error("partition %s cannot be fetched, trying again: %s", tp.partition, why)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets to the group. Returns False, and logs a warning, if that failed.

        A failure does not end the worker: the group's offsets only show the lag, and no worker reads from them.
        """
        consumer = self._ensure_consumer()
        try:
            await consumer.commit({driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()})
        except (KafkaError, IllegalStateError) as error:
            why = named(error.__cause__ or error)  # a CommitFailedError has the group's error as its cause
            self.log.warning("Offsets were not committed, the group's lag looks larger than it is: %s", why)
            return False
        return True

    def close(self) -> None:
        """Do nothing. Faust would close aiokafka's client from another thread, but ``on_thread_stop`` does that."""

    def fetch_state(self, tp: TP) -> tuple[int | None, float | None]:
        """(the partition's last stable offset, when a broker last reported it, in s since the Unix epoch).

        Records from this offset on belong to open transactions, or are behind some. Both are None if the partition is
        not assigned, or was not fetched yet. May be called from any thread. Raises ConsumerNotStarted before the
        consumer is started.
        """
        state = internals.partition_state(self._ensure_consumer(), driver.ensure_aiokafka_TP(tp))
        if state is None:
            return None, None
        end = state.highwater if state.lso is None or state.lso < 0 else state.lso
        return end, None if state.timestamp is None else state.timestamp / 1000


def at_least(seconds: float) -> Callable[[Fetch], Fetch]:
    """A function that wraps a fetch: a fetch without records then takes at least ``seconds``. Its result is unchanged,
    but for ``false_if_cancelled``."""

    def wrap(fetch: Fetch) -> Fetch:
        async def paced(*args: Any) -> bool:
            began = time.monotonic()
            has_records = await fetch(*args)
            rest = seconds - (time.monotonic() - began)
            if not has_records and rest > 0:
                await asyncio.sleep(rest)
            return has_records

        return false_if_cancelled(paced)

    return wrap


class IdleFetches:
    """Lets brokers hold fetches for longer while no records come.

    A held fetch is answered at once when records come for one of its partitions. But partitions whose records are being
    read are in no fetch, and their next records wait for its end; so do requests for offsets, on the same connection.
    So fetches are long only when no records have come, and ``note_activity`` was not called, for ``idle_after_s``.
    """

    def __init__(
        self, set_wait: Callable[[int], None], wait_ms: int, idle_wait_ms: int, idle_after_s: float = IDLE_AFTER_S
    ) -> None:
        """``set_wait`` sets how many ms brokers may hold the next fetches: ``idle_wait_ms`` for long ones, else
        ``wait_ms``.
        """
        self._set_wait = set_wait
        self._wait_ms = wait_ms
        self._idle_wait_ms = idle_wait_ms
        self._idle_after_s = idle_after_s
        self._active_s = time.monotonic()

    def note_activity(self) -> None:
        """Let the next fetches be short."""
        self._active_s = time.monotonic()
        self._set_wait(self._wait_ms)

    def wrap(self, fetch: Fetch) -> Fetch:
        """A fetch with the result of ``fetch`` that says how long the next ones are."""

        async def fetch_and_set(*args: Any) -> bool:
            has_records = await fetch(*args)
            if has_records:
                self.note_activity()
            elif time.monotonic() - self._active_s >= self._idle_after_s:
                self._set_wait(self._idle_wait_ms)
            return has_records

        return fetch_and_set
