"""A Faust transport that hands over whole fetched batches: one message for each, whose value is a ``Batch``.

Faust's cost is per message, not per byte, so this is what makes a worker quick. Registered as an entry point of
``faust.transports``: a broker's address is ``ecounters://host:port``.

What of Faust's consumer would lose exactness is replaced here, and nothing else: commits are of positions that have
been flushed (``app.positions``), not of what agents have acknowledged; a seek is to the state's position, not to the
group's; and a batch says from which offset on it is whole, so that the state can see whether one is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol, cast

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from streams.basics.text import one_line
from streams.kafka import internals
from streams.kafka.batches import Batch, next_batch
from streams.kafka.checksums import check_fetched
from streams.kafka.group import Assignor, guard_coordinator

EMPTY_FETCH_S: Final = 0.01
"""The least that a fetch without records takes. Not every broker waits for some, as it is asked to, and one that
answers at once would be asked 2,000 times a second for nothing."""


class Positions(Protocol):
    """What the consumer must know of the states; ``app.positions`` is one."""

    def to_commit(self) -> Mapping[TP, int]:
        """Up to where each partition has been flushed, if that moved since the last commit."""

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """These have been committed."""

    def lost(self, tp: TP) -> None:
        """A batch of this partition was dropped: it is to be read again, from the state's position."""

    async def flush_before_revoke(self) -> None:
        """A rebalance begins: save what can be saved while the partitions are still this worker's."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer, which fetches and commits there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Where the batch handed over last ended: what is skipped between two (transaction markers) is no gap.
        self._handed: dict[TP, int] = {}
        self._told_address = False

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has 1.5 s here without a setting: that is how long an event could wait for one of another partition.
        internals.set_fetch_wait(consumer, cast(Any, self.app).fetch_wait_ms)
        return consumer

    async def on_start(self) -> None:
        """The consumer is started here."""
        await super().on_start()
        consumer = self._ensure_consumer()
        check_fetched(consumer)
        internals.wrap_fetch(consumer, paced)
        guard_coordinator(internals.coordinator_of(consumer), self._left_alone)

    def _left_alone(self, error: BaseException) -> None:
        """aiokafka has given up on the group: without it nothing is fetched any more, and nobody would notice."""
        asyncio.run_coroutine_threadsafe(self.app.crash(error), self.parent_loop)

    async def on_thread_stop(self) -> None:
        """The consumer is stopped here, and leaves the group even if it has a name of its own in it.

        aiokafka would have such a one only fall silent, and its partitions wait for the session's end.
        """
        if self._consumer is not None:
            internals.forget_instance_id(self._consumer)
        await super().on_thread_stop()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A rebalance ends. Nothing is fetched of a partition until it is known from where on: see ``follow``."""
        self._ensure_consumer().pause(*map(driver.ensure_aiokafka_TP, assigned))
        await super().on_partitions_assigned(assigned, generation_id)
        if cast(Assignor, self.app.assignor).address_is_stale and not self._told_address:
            # The broker gave this name its old assignment without asking the leader: the others look for it elsewhere.
            self._told_address = True
            internals.coordinator_of(self._ensure_consumer()).request_rejoin()

    async def follow(self, tp: TP, offset: int) -> None:
        """Fetch a partition's events from that offset on."""
        await self.call_thread(self._follow, tp, offset)

    async def _follow(self, tp: TP, offset: int) -> None:
        consumer = self._ensure_consumer()
        self._handed.pop(tp, None)
        consumer.seek(driver.ensure_aiokafka_TP(tp), offset)
        consumer.resume(driver.ensure_aiokafka_TP(tp))

    async def _fetch_records(  # type: ignore[override]  # Batches in place of lists of records
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        **_: Any,
    ) -> dict[TP, Batch]:
        """What has been fetched of these partitions; waits for it at most so long.

        In place of aiokafka's ``fetched_records``, which makes an object of 11 fields of every record, of as many as
        the broker has sent at once, and goes on with the first partition while it has more.
        """
        fetcher = internals.open_fetcher(consumer)
        with internals.reading(fetcher):
            batches = self._drained(fetcher, active_partitions)
            if not batches:
                await asyncio.wait([internals.until_fetched(fetcher)], timeout=timeout)
                batches = self._drained(fetcher, active_partitions)
        return batches

    def _drained(self, fetcher: Any, active: set[TP]) -> dict[TP, Batch]:
        batches: dict[TP, Batch] = {}
        if not self.consumer.flow_active or internals.is_rebalancing(fetcher):
            return batches
        for tp, result in internals.fetched(fetcher):
            if tp not in active:
                if not internals.is_assigned(fetcher, tp):
                    internals.discard(fetcher, tp)
                continue
            if not isinstance(result, FetchResult):
                internals.fetch_again(fetcher, tp)
                result.check_raise()
            elif result.check_assignment(tp) and result.has_more():
                batches[tp] = batch = next_batch(result, self._handed.get(tp))
                self._handed[tp] = batch.end
            if not result.has_more():
                internals.fetch_again(fetcher, tp)
        return batches

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, and say whether it could be done. Offsets only tell the lag: no reason to end the worker."""
        consumer = self._ensure_consumer()
        try:
            await consumer.commit({driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()})
        except (KafkaError, IllegalStateError) as error:
            self.log.warning("Offsets were not committed: %s", one_line(error))
            return False
        return True

    def close(self) -> None:
        """Nothing: Faust closes the client from the wrong thread here; stopping the thread closes it in order."""

    def fetch_state(self, tp: TP) -> tuple[int | None, float | None]:
        """(the partition's end, when the broker last said so as time.time()); None: not yet, or not ours."""
        state = internals.partition_state(self._ensure_consumer(), driver.ensure_aiokafka_TP(tp))
        if state is None:
            return None, None
        return state.highwater, None if state.timestamp is None else state.timestamp / 1000


def paced(fetch: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    """The same fetch, which says whether it got records, but that one without takes EMPTY_FETCH_S."""

    async def fetched(*args: Any) -> bool:
        began = time.monotonic()
        try:
            got = await fetch(*args)
            rest = EMPTY_FETCH_S - (time.monotonic() - began)
            if not got and rest > 0:
                await asyncio.sleep(rest)
        except asyncio.CancelledError:
            # The fetcher cancels this when it is closed and then waits for its answer, but cannot do with another than
            # one; aiokafka's own fetch knows that where it waits for the broker, though not where it pauses.
            return False
        return got

    return fetched


class Consumer(driver.Consumer):
    """Faust's consumer, of batches."""

    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def positions(self) -> Positions:
        """What the states say of their positions."""
        return cast(Positions, cast(Any, self.app).positions)

    # --------------------------------------------------------------------------------------------- reading

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand on batches until the fetcher is to stop. Replaces Faust's, which keeps books of gaps and acks."""
        while not any((self.should_stop, fetcher.should_stop)):
            if not self.flow_active:
                await self.wait_first(self.can_resume_flow.wait(), fetcher.wait_until_stopped())
                continue
            active = self._get_active_partitions()
            if not active:
                await asyncio.sleep(0.05)
                continue
            generation = self.app.consumer_generation_id
            try:
                fetched = cast(dict[TP, Batch], await self._getmany(active, timeout=1.0))
            except ConsumerStoppedError:
                return
            for tp, batch in fetched.items():
                stale = self.app.consumer_generation_id != generation
                if stale or not self.flow_active:
                    # It may have been fetched after the rebalance, by a call that was begun before it; and where no
                    # other follows it, nobody would see that it is missing.
                    self.positions.lost(tp)
                    continue
                message = self._batch_message(tp, batch, generation)
                await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _batch_message(self, tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic, tp.partition, batch.end - 1, time.time(), 0, [], None,
            cast(Any, batch), None, None, None, tp, generation_id=generation,
        )  # fmt: skip

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: a full queue makes ``_drain_messages`` wait, which is enough, and cannot be forgotten."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, likewise."""

    async def perform_seek(self) -> None:
        """Nothing: every partition is followed from its state's position; group offsets are only told to others."""

    async def follow(self, tp: TP, offset: int) -> None:
        """Read a partition's events from that offset on."""
        await self._thread.follow(tp, offset)
        self.resume_partitions({tp})

    def fetch_state(self, tp: TP) -> tuple[int | None, float | None]:
        """(the partition's end, age in seconds of that knowledge); None: not known."""
        end, at = self._thread.fetch_state(tp)
        return end, None if at is None else max(0.0, time.time() - at)

    # ------------------------------------------------------------------------------------------ committing

    def ack(self, message: Message) -> bool:
        """An agent is through with a batch. Nothing follows from it: what counts is what was flushed."""
        self._unacked_messages.discard(message)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what has been flushed."""
        assigned = self.assignment()
        offsets = {tp: at for tp, at in self.positions.to_commit().items() if tp in assigned}
        if not offsets or not await self._commit(offsets):
            return False
        self.positions.committed(offsets)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Save and commit while the partitions are still this worker's; then as Faust does."""
        self.stop_flow()
        self.app.flow_control.suspend()
        await self.positions.flush_before_revoke()
        await self.commit()
        await super().on_partitions_revoked(revoked)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust's detector mixes two clocks and knows no batches; /readyz and the lag tell."""


class Transport(driver.Transport):
    """The transport behind ``ecounters://``."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    driver_version = f"{driver.Transport.driver_version} in batches"


def broker_urls(brokers: str) -> Iterable[str]:
    """``host:port,host:port`` of the settings as Faust's addresses of this transport."""
    return [f"ecounters://{broker}" for broker in brokers.split(",")]
