"""The private members of aiokafka and Faust that this project uses. No other module may touch one (ruff's SLF001).

The functions read, replace or call private members of aiokafka's and Faust's objects. ``streams.kafka.subclassed``
lists those that our subclasses override or use through ``self``. tests/unit/kafka/test_internals.py asserts every name
on the installed versions, and so names a member that an upgrade has removed.

What a started AIOKafkaConsumer holds, as far as these functions use it::

    AIOKafkaConsumer
    ├─ _subscription                        the partitions assigned to this consumer, and how far each is read
    ├─ _coordinator: GroupCoordinator       joins the group and sends heartbeats, in tasks of its own
    └─ _fetcher: Fetcher                    sends fetch requests, in a task of its own
       ├─ _client: AIOKafkaClient           the connections to the brokers
       ├─ _records: {partition: result}     fetched and not read to the end; these partitions are not fetched meanwhile
       │   └─ FetchResult or FetchError
       │      └─ _partition_records: PartitionRecords    None once everything is read
       │         ├─ _records: MemoryRecords              the producers' batches; see ``set_undecoded``
       │         ├─ _records_iterator                    decodes them to ConsumerRecords; see ``undecoded``
       │         └─ next_fetch_offset                    the offset behind the last record read
       ├─ _wait_consume_future              resolved by a reader that has emptied a partition: fetch it again
       └─ _fetch_waiters                    resolved by the fetcher when it has put something into _records
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from mode.types import ServiceT

AppT = Any
"""A ``faust.App``. To import its type would load Faust, which takes a second, for every command that reads a topic."""

# ------------------------------------------------------------------------------------- settings of a consumer


def set_fetch_wait(consumer: AIOKafkaConsumer, wait_ms: int) -> None:
    """Set how long a broker may hold a fetch request while it has no records. Call it before the consumer starts.

    Faust passes a fixed 1,500 ms to aiokafka. Remove this function once Faust has a setting for ``fetch_max_wait_ms``.
    """
    consumer._fetch_max_wait_ms = wait_ms


def set_next_fetch_wait(consumer: AIOKafkaConsumer, wait_ms: int) -> None:
    """Set how long a broker may hold the next fetch requests of a started consumer."""
    consumer._fetcher._fetch_max_wait_ms = wait_ms


def set_next_fetch_bytes(consumer: AIOKafkaConsumer, size: int) -> None:
    """Set how much of a partition the next fetch requests of a started consumer ask for at most."""
    consumer._fetcher._max_partition_fetch_bytes = size


def read_committed(consumer: AIOKafkaConsumer) -> None:
    """Read committed records only, up to the last stable offset. Call it before the consumer starts.

    Faust sets this only together with transactions of its own, which lose counts. Remove this function once Faust has
    a setting for ``isolation_level``.
    """
    consumer._isolation_level = "read_committed"


def client_of_fetches(consumer: AIOKafkaConsumer) -> AIOKafkaClient:
    """The client by which a started consumer's fetcher sends its requests."""
    return consumer._fetcher._client


def wrap_client_of_fetches(consumer: AIOKafkaConsumer, wrap: Callable[[Any], Any]) -> None:
    """Replace the client of a started consumer's fetcher by ``wrap(client)``, which sees each request and response.

    Remove this function once aiokafka has a hook between a response and its fetcher, or lets us choose the function
    that computes CRCs.
    """
    fetcher = consumer._fetcher
    fetcher._client = wrap(fetcher._client)


def wrap_fetch(consumer: AIOKafkaConsumer, wrap: Callable[[Callable[..., Awaitable[bool]]], Any]) -> None:
    """Let a started consumer call ``wrap(fetch)`` in place of ``fetch``, which sends one request and keeps the records.

    Remove this function once aiokafka has a setting for the least time between two fetches.
    """
    fetcher = consumer._fetcher
    fetcher._proc_fetch_request = wrap(fetcher._proc_fetch_request)


# ------------------------------------------------------------------------------------------- membership in the group


def coordinator_of(consumer: AIOKafkaConsumer) -> GroupCoordinator:
    """The object by which a started consumer takes part in its group; it has a public ``request_rejoin()``."""
    return consumer._coordinator


def forget_instance_id(consumer: AIOKafkaConsumer) -> None:
    """Let a static member (a consumer with a group instance id) leave the group when it is stopped.

    aiokafka stops a static member without leaving: no other member gets its partitions before the session timeout.
    Does nothing to a consumer that was never started. Remove this function once ``AIOKafkaConsumer.stop`` has an option
    to leave.
    """
    if consumer._coordinator is not None:
        consumer._coordinator._group_instance_id = None


def wrap_assignment(coordinator: GroupCoordinator, wrap: Callable[[Callable[..., Awaitable[None]]], Any]) -> None:
    """Let a coordinator call ``wrap(complete)`` in place of ``complete``, which takes in an assignment.

    ``complete`` decodes the assignment's bytes before it calls any listener. Empty bytes make it raise, and that ends
    the coordinator's task. Remove this function once aiokafka takes empty bytes for an empty assignment.
    """
    coordinator._on_join_complete = wrap(coordinator._on_join_complete)


def on_coordination_end(coordinator: GroupCoordinator, ended: Callable[[asyncio.Task[None]], None]) -> None:
    """Call ``ended(task)`` when the coordinator's background task ends: by an error, by a cancellation or by a stop.

    Call this function after the consumer has started, as there is no such task before. aiokafka logs an error of the
    task, but raises it from nothing that we call. Remove this function once aiokafka's consumer has an error callback.
    """
    coordinator._coordination_task.add_done_callback(ended)


def partition_state(consumer: AIOKafkaConsumer, tp: TopicPartition) -> TopicPartitionState | None:
    """aiokafka's state of a partition, or None if the partition is not assigned.

    ``highwater`` is the partition's end offset, ``lso`` its last stable offset. ``timestamp`` is the time of the last
    response without an error, in ms since the Unix epoch. All are None before the first such response; a broker that
    knows no transactions says -1 for ``lso``.

    May be called from any thread: it reads each attribute once. The public ``highwater()`` and
    ``last_poll_timestamp()`` read the assignment twice, and fail if it changes between. Remove this function once they
    read it once.
    """
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    return None if assignment is None else assignment.state_value(tp)


# ------------------------------------------------------------------------------------------------- what was fetched
# Remove these functions once ``getmany()`` can return the producers' batches. It returns ConsumerRecords: of 11 fields,
# to make one costs as much as to count an event.


def open_fetcher(consumer: AIOKafkaConsumer) -> Fetcher:
    """A started consumer's fetcher. Raises ConsumerStoppedError if the consumer is stopping or has stopped."""
    fetcher = consumer._fetcher
    if consumer._closed or fetcher._closed:
        raise ConsumerStoppedError
    return fetcher


def reading(fetcher: Fetcher) -> AbstractContextManager[None]:
    """A context within which the consumer counts as polled. aiokafka leaves the group if the last poll was more than
    ``max_poll_interval_ms`` ago."""
    return cast(AbstractContextManager[None], fetcher._subscriptions.fetch_context())


def is_rebalancing(fetcher: Fetcher) -> bool:
    """Whether a rebalance is going on, or the first one has not ended. What was fetched may not be read then: another
    worker may own the partition."""
    return bool(fetcher._subscriptions.reassignment_in_progress)


def is_assigned(fetcher: Fetcher, tp: TopicPartition) -> bool:
    """Whether a partition is assigned to this consumer now."""
    return bool(fetcher._subscriptions.is_assigned(tp))


def fetched(fetcher: Fetcher) -> list[tuple[TopicPartition, Any]]:
    """(partition, FetchResult or FetchError) of every partition with something to read.

    The list is a copy: ``discard`` and ``fetch_again`` may be called while it is iterated.
    """
    return list(fetcher._records.items())


def fetched_of(fetcher: Fetcher, tp: TopicPartition) -> Any:
    """The FetchResult or FetchError of one partition; None if there is nothing to read."""
    return fetcher._records.get(tp)


def until_fetched(fetcher: Fetcher) -> asyncio.Future[None]:
    """A future that is resolved when records or an error of any partition were fetched, or the consumer is stopped.

    It raises KafkaError if the consumer's membership in its group has failed.
    """
    return cast(asyncio.Future[None], fetcher._create_fetch_waiter())


def discard(fetcher: Fetcher, tp: TopicPartition) -> None:
    """Throw away what was fetched of a partition that is not assigned any more. The fetcher is not woken up."""
    del fetcher._records[tp]


def fetch_again(fetcher: Fetcher, tp: TopicPartition) -> None:
    """Remove a partition's FetchResult or FetchError, and wake the fetcher, which then fetches the partition again."""
    del fetcher._records[tp]
    fetcher._notify(fetcher._wait_consume_future)


def set_error(fetcher: Fetcher, state: TopicPartitionState, tp: TopicPartition, offset: int, error: KafkaError) -> bool:
    """Let whoever reads a partition get an error, as a FetchError. ``state``: aiokafka's of the partition.

    Returns False, and does nothing, if the partition is not read from ``offset`` on any more, or has something to read.
    """
    if state._position != offset or tp in fetcher._records:
        return False
    fetcher._set_error(tp, error)
    return True


def set_undecoded(result: FetchResult, record_batches: deque[Any]) -> None:
    """Put ``record_batches`` in place of the bytes that were fetched. Call it before anything is read.

    aiokafka's class for the bytes gives them to nobody.
    """
    result._partition_records._records = record_batches


def undecoded(result: FetchResult) -> tuple[PartitionRecords, Any]:
    """(a FetchResult's PartitionRecords, the record batches of ``set_undecoded``). The caller reads batch by batch, and
    moves ``next_fetch_offset`` itself.

    Drops aiokafka's iterator. It and the PartitionRecords refer to each other: if it stayed, the fetched bytes would
    live until the next garbage collection.
    """
    source = result._partition_records
    source._records_iterator = None
    return source, source._records


def is_left_out(source: PartitionRecords, batch: Any) -> bool:
    """Whether a record batch is a transaction marker, or belongs to an aborted transaction.

    ``batch``: with ``base_offset``, ``producer_id``, ``is_marker`` and ``is_transactional``. Call this function for all
    record batches of a FetchResult in their order: the broker names the first offset of each aborted transaction, and
    the next marker of the same producer ends it.
    """
    if source._aborted_transactions:
        source._consume_aborted_up_to(batch.base_offset)
    aborted = source._aborted_producers
    if batch.is_marker:
        aborted.discard(batch.producer_id)
        return True
    return bool(aborted) and batch.is_transactional and batch.producer_id in aborted


def set_position(result: FetchResult) -> None:
    """Set the consumer's position in the partition to the ``next_fetch_offset`` of a FetchResult's PartitionRecords."""
    result._update_position()


def set_read(result: FetchResult) -> None:
    """Note that everything in a FetchResult was read: its ``has_more()`` is False from then on."""
    result._partition_records = None


# --------------------------------------------------------------------------------------- transactions of a producer


def producer_id_of(producer: AIOKafkaProducer) -> int:
    """The producer id that the broker gave to a started transactional producer. Its records and transaction markers
    bear this id.

    Remove this function once aiokafka's producer has a public attribute for it.
    """
    return int(producer._txn_manager.producer_id)


def sequence_of(producer: AIOKafkaProducer, tp: TopicPartition) -> int:
    """The sequence number that the producer's next record for a partition gets."""
    return int(producer._txn_manager.sequence_number(tp))


def set_sequence(producer: AIOKafkaProducer, tp: TopicPartition, sequence: int) -> None:
    """Set the sequence number of the producer's next record for a partition.

    aiokafka counts the records of a batch that the broker has refused. Remove this function once it does not.
    """
    producer._txn_manager._sequence_numbers[tp] = sequence


def records_of(batch: BatchBuilder) -> list[Any]:
    """The records of a batch that was sent, with ``key``, ``value`` and ``headers``. A batch cannot be sent twice."""
    return list(DefaultRecordBatch(bytes(batch._buffer)))


def add_to_transaction(producer: AIOKafkaProducer, tp: TopicPartition) -> None:
    """Add a partition to the open transaction without a record, so that the partition gets a transaction marker.

    aiokafka adds a partition only when a record is sent to it. Remove this function once aiokafka's producer has a
    method for it. Raises AssertionError if no transaction is open.
    """
    producer._txn_manager.maybe_add_partition_to_txn(tp)


def sender_task_of(producer: AIOKafkaProducer) -> asyncio.Task[None] | None:
    """The task in which a producer sends; None before the producer is started.

    ``AIOKafkaProducer.stop`` leaves this task running if ``stop`` itself is cancelled. Remove this function once
    ``stop`` has a time limit.
    """
    return cast(asyncio.Task[None] | None, producer._sender.sender_task)


async def wait_for_metadata(client: AIOKafkaClient, topic: str) -> None:
    """Wait until the client has the topic's partitions in its metadata. A partition may still have no leader.

    Raises UnknownTopicOrPartitionError if the client has not got them within its request timeout: there is no such
    topic, or no broker answers. Raises TopicAuthorizationFailedError if the client may not see the topic.

    ``AIOKafkaProducer.partitions_for`` does the same, but only a producer has it.
    """
    await client._wait_on_metadata(topic)


# ------------------------------------------------------------------------------------------------------ Faust's app


def fetcher_service(app: AppT) -> ServiceT:
    """Faust's service that runs ``Consumer._drain_messages``.

    Faust's TableManager stops it through the same private property. Remove this function once Faust has a public one.
    """
    service: ServiceT = cast(Any, app)._fetcher
    return service


async def until_crashed(app: AppT) -> None:
    """Wait until ``app.crash(error)`` was called.

    The public ``Service.crashed`` cannot be awaited. Remove this function once Faust has a public event for it.
    """
    await cast(Any, app)._crashed.wait()
