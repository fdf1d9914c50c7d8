"""The private members of aiokafka and Faust that this project uses. No other module may touch one (ruff's SLF001).

The functions read or replace private attributes of aiokafka's and Faust's objects. ``SUBCLASSED`` lists the private
members that our subclasses override or use through ``self``. tests/unit/kafka/test_internals.py asserts every name on
the installed versions: an upgrade that removes one fails there, by its name.

What a started AIOKafkaConsumer holds, as far as it is used here::

    AIOKafkaConsumer
    ├─ _subscription                        the partitions assigned to this consumer, and how far each is read
    ├─ _coordinator: GroupCoordinator       joins the group and sends heartbeats, in a task of its own
    └─ _fetcher: Fetcher                    sends fetch requests, in a task of its own
       ├─ _client: AIOKafkaClient           the connections to the brokers
       ├─ _records: {partition: result}     what was fetched and not read; such a partition is not fetched again
       │   └─ FetchResult or FetchError
       │      └─ _partition_records: PartitionRecords    None once everything is read
       │         ├─ _records: MemoryRecords              the producers' batches, as bytes
       │         ├─ _records_iterator                    decodes them to ConsumerRecords
       │         └─ next_fetch_offset                    the offset behind the last record read
       ├─ _wait_consume_future              resolved by a reader that has emptied a partition: fetch it again
       └─ _fetch_waiters                    resolved by the fetcher when something new is in _records
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.errors import ConsumerStoppedError
from aiokafka.record.memory_records import MemoryRecords
from faust.types import AppT
from mode.types import ServiceT

# ------------------------------------------------------------------------------------- settings of a consumer


def set_fetch_wait(consumer: AIOKafkaConsumer, wait_ms: int) -> None:
    """Set how long a broker may hold a fetch request while it has no records. Call it before the consumer starts.

    Faust passes a fixed 1,500 ms to aiokafka. A Faust setting for ``fetch_max_wait_ms`` would replace this.
    """
    consumer._fetch_max_wait_ms = wait_ms


def wrap_client_of_fetches(consumer: AIOKafkaConsumer, wrap: Callable[[Any], Any]) -> None:
    """Let a started consumer send its fetch requests through ``wrap(client)``; the wrapper sees each response.

    aiokafka has no hook between a response and its fetcher. One, or a pluggable CRC function, would replace this.
    """
    fetcher = consumer._fetcher
    fetcher._client = wrap(fetcher._client)


def wrap_fetch(consumer: AIOKafkaConsumer, wrap: Callable[[Callable[..., Awaitable[bool]]], Any]) -> None:
    """Let a started consumer make each fetch, from request to response, by ``wrap(fetch)``.

    aiokafka has no least time between two fetches. A setting for that would replace this.
    """
    fetcher = consumer._fetcher
    fetcher._proc_fetch_request = wrap(fetcher._proc_fetch_request)


# ------------------------------------------------------------------------------------------- membership in the group


def coordinator_of(consumer: AIOKafkaConsumer) -> GroupCoordinator:
    """The object by which a started consumer takes part in its group; it has a public ``request_rejoin()``.

    aiokafka's consumer cannot be asked to rejoin, nor to report an error of its coordinator. Methods for these would
    replace this.
    """
    return consumer._coordinator


def forget_instance_id(consumer: AIOKafkaConsumer) -> None:
    """Let a consumer with a static name leave the group when it is stopped.

    aiokafka lets a static member only fall silent; its partitions would wait for the session timeout. An option of
    ``AIOKafkaConsumer.stop`` would replace this. Does nothing to a consumer that was never started.
    """
    if consumer._coordinator is not None:
        consumer._coordinator._group_instance_id = None


def wrap_assignment(coordinator: GroupCoordinator, wrap: Callable[[Callable[..., Awaitable[None]]], Any]) -> None:
    """Let a coordinator take in each assignment by ``wrap(complete)``.

    aiokafka decodes the assignment's bytes before it calls any listener, and empty bytes make it give up. A release
    that takes empty bytes for an empty assignment would replace this.
    """
    coordinator._on_join_complete = wrap(coordinator._on_join_complete)


def on_coordination_end(coordinator: GroupCoordinator, ended: Callable[[asyncio.Task[None]], None]) -> None:
    """Call ``ended`` with the coordinator's background task when that task ends, for whatever reason.

    aiokafka only logs an error of that task. An error callback of the consumer would replace this.
    """
    coordinator._coordination_task.add_done_callback(ended)


def partition_state(consumer: AIOKafkaConsumer, tp: TopicPartition) -> TopicPartitionState | None:
    """aiokafka's state of an assigned partition. ``highwater``: its end offset; ``timestamp``: of the last response, in
    ms since the Unix epoch. Both are None before the first response.

    Returns None if the partition is not assigned. May be called from any thread: each attribute is read once. The
    public ``highwater()`` and ``last_poll_timestamp()`` read the assignment twice and assert that it has not changed;
    they would replace this if they did not.
    """
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    return None if assignment is None else assignment.state_value(tp)


# ------------------------------------------------------------------------------------------------- what was fetched
# ``getmany()`` would replace all of these, if it could give the producers' batches, or records without decoding each
# of them to a ConsumerRecord of 11 fields. That costs as much as to count an event.


def open_fetcher(consumer: AIOKafkaConsumer) -> Fetcher:
    """A started consumer's fetcher. Raises ConsumerStoppedError if the consumer is being stopped."""
    fetcher = consumer._fetcher
    if consumer._closed or fetcher._closed:
        raise ConsumerStoppedError
    return fetcher


def reading(fetcher: Fetcher) -> AbstractContextManager[None]:
    """In this context the consumer counts as polled: aiokafka leaves the group if that was too long ago."""
    context: AbstractContextManager[None] = fetcher._subscriptions.fetch_context()
    return context


def is_rebalancing(fetcher: Fetcher) -> bool:
    """Whether the group is sharing out its partitions anew: nothing may be read meanwhile."""
    return bool(fetcher._subscriptions.reassignment_in_progress)


def is_assigned(fetcher: Fetcher, tp: TopicPartition) -> bool:
    """Whether a partition is assigned to this consumer now."""
    return bool(fetcher._subscriptions.is_assigned(tp))


def fetched(fetcher: Fetcher) -> list[tuple[TopicPartition, Any]]:
    """(partition, FetchResult or FetchError) of every partition with something to read. Safe to discard from."""
    return list(fetcher._records.items())


def fetched_of(fetcher: Fetcher, tp: TopicPartition) -> Any:
    """The FetchResult or FetchError of one partition; None if there is nothing to read."""
    return fetcher._records.get(tp)


def until_fetched(fetcher: Fetcher) -> asyncio.Future[None]:
    """A future that is resolved when something new was fetched of any partition, or the consumer is stopped."""
    waiter: asyncio.Future[None] = fetcher._create_fetch_waiter()
    return waiter


def discard(fetcher: Fetcher, tp: TopicPartition) -> None:
    """Throw away what was fetched of a partition that is not assigned any more."""
    del fetcher._records[tp]


def fetch_again(fetcher: Fetcher, tp: TopicPartition) -> None:
    """A partition's FetchResult or FetchError was read to its end: remove it, and let the fetcher fetch more."""
    del fetcher._records[tp]
    fetcher._notify(fetcher._wait_consume_future)


def undecoded(result: FetchResult) -> tuple[PartitionRecords, MemoryRecords]:
    """(a FetchResult's records, the producers' batches in them), to be read batch by batch.

    Drops aiokafka's iterator, which must not have been started. The iterator and its PartitionRecords refer to each
    other: without this the fetched bytes would live until the next garbage collection.
    """
    source = result._partition_records
    source._records_iterator = None
    return source, source._records


def converted(
    result: FetchResult, convert: Callable[[TopicPartition, Any], Any]
) -> tuple[PartitionRecords, Iterator[Any]]:
    """(a FetchResult's records, an iterator over what ``convert(partition, record)`` makes of each of them).

    No ConsumerRecord is made. The iterator skips aborted transactions and transaction markers, as aiokafka does, and
    moves ``next_fetch_offset``. It is not the PartitionRecords itself, because that one raises TypeError if it is asked
    again after its end.
    """
    source = result._partition_records
    source._consumer_record = convert
    return source, source._records_iterator


def set_position(result: FetchResult) -> None:
    """Set the consumer's position of the partition to the ``next_fetch_offset`` of a FetchResult's records."""
    result._update_position()


def set_read(result: FetchResult) -> None:
    """Let a FetchResult's ``has_more()`` say that everything in it was read."""
    result._partition_records = None


# --------------------------------------------------------------------------------------- transactions of a producer


def producer_id_of(producer: AIOKafkaProducer) -> int:
    """The id that the broker gave to a started transactional producer; its records and markers bear it.

    A public attribute of the producer would replace this.
    """
    return int(producer._txn_manager.producer_id)


def add_to_transaction(producer: AIOKafkaProducer, tp: TopicPartition) -> None:
    """Add a partition to the open transaction without a record, so that the partition gets a transaction marker.

    aiokafka adds a partition only when a record is sent to it. A method of the producer would replace this.
    """
    producer._txn_manager.maybe_add_partition_to_txn(tp)


def sender_task_of(producer: AIOKafkaProducer) -> asyncio.Task[None] | None:
    """The task in which a producer sends; None before it is started.

    ``AIOKafkaProducer.stop`` leaves it running if it is cancelled. A ``stop`` with a time limit would replace this.
    """
    task: asyncio.Task[None] | None = producer._sender.sender_task
    return task


async def wait_for_metadata(client: AIOKafkaClient, topic: str) -> None:
    """Wait until a client knows the topic's partitions and their leaders. Raises UnknownTopicOrPartitionError if there
    is no such topic within the client's request timeout, TopicAuthorizationFailedError if it may not be read.

    ``AIOKafkaProducer.partitions_for`` does the same, but for a producer alone.
    """
    await client._wait_on_metadata(topic)


# ------------------------------------------------------------------------------------------------------ Faust's app


def fetcher_service(app: AppT) -> ServiceT:
    """Faust's service that runs ``Consumer._drain_messages``.

    Faust's TableManager stops it through the same private property. A public one would replace this.
    """
    service: ServiceT = cast(Any, app)._fetcher
    return service


async def until_crashed(app: AppT) -> None:
    """Wait until ``app.crash(error)`` was called.

    The public ``Service.crashed`` says only whether it was. A public event would replace this.
    """
    await cast(Any, app)._crashed.wait()


# ---------------------------------------------------------------------------------------------- what we subclass


class Subclassed(NamedTuple):
    """A private member of a foreign class that a subclass of ours overrides, or uses through ``self``."""

    ours: str
    """module:Class of the subclass."""
    member: str
    overridden: bool
    why: str


_THREAD: Final = "streams.kafka.consumer_thread:ConsumerThread"
_CONSUMER: Final = "streams.kafka.consumer:Consumer"
_ASSIGNOR: Final = "streams.kafka.group:Assignor"
_TABLES: Final = "streams.engine.table:StateManager"
_SERVER: Final = "streams.web.server:Server"
_RUNNER: Final = "streams.web.server:Runner"

SUBCLASSED: Final = (
    Subclassed(_THREAD, "_create_worker_consumer", True, "where Faust makes the aiokafka consumer, before its start"),
    Subclassed(_THREAD, "_fetch_records", True, "gives batches in place of lists of records"),
    Subclassed(_THREAD, "_commit", True, "a commit that fails is a warning, not a crash"),
    Subclassed(_THREAD, "_consumer", False, "the aiokafka consumer, or None: on_thread_stop may come before on_start"),
    Subclassed(_THREAD, "_ensure_consumer", False, "the aiokafka consumer; raises if there is none"),
    Subclassed(_CONSUMER, "_new_consumer_thread", True, "makes our ConsumerThread"),
    Subclassed(_CONSUMER, "_drain_messages", True, "one message per batch; no gaps and no acknowledgements to keep"),
    Subclassed(_CONSUMER, "_thread", False, "the ConsumerThread"),
    Subclassed(_CONSUMER, "_get_active_partitions", False, "the assigned partitions that are not paused"),
    Subclassed(_CONSUMER, "_getmany", False, "calls ConsumerThread._fetch_records in the consumer's thread"),
    Subclassed(_CONSUMER, "_unacked_messages", False, "Faust waits for these at its end: ack() takes them out"),
    Subclassed(_CONSUMER, "_commit", False, "calls ConsumerThread._commit in the consumer's thread"),
    Subclassed(_ASSIGNOR, "_compress", False, "the format of an assignment's user data"),
    Subclassed(_ASSIGNOR, "_decompress", False, "likewise"),
    Subclassed(_ASSIGNOR, "_url", False, "this worker's URL, as Faust tells it to the group"),
    Subclassed(_TABLES, "_tables_finalized", False, "Faust's start waits for it; on_start is replaced"),
    Subclassed(_TABLES, "_tables_registered", False, "likewise"),
    Subclassed(_SERVER, "_loop", False, "an argument of the connection's constructor"),
    Subclassed(_SERVER, "_kwargs", False, "likewise"),
    Subclassed(_RUNNER, "_make_server", True, "makes our Server"),
)
