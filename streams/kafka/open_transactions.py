"""Finds open transactions of a partition: records whose transaction marker, commit or abort, is not there yet.

The life of a transaction::

    producer       begin ──► sends records ──► sends EndTxn(commit) ──► gets the acknowledgement: done
    coordinator                                 └─► stores "commit" ──► writes a marker to each partition ──► done
    a partition               r r r                                           C
                              ▲ the last stable offset until C is written      ▲ C, the marker; then it is behind C

A read_committed consumer reads up to the last stable offset. The records from there on are open, or behind open ones.

Taking over a transactional id should leave no open transaction: the coordinator commits or aborts those that it knows.
But if all brokers die after the coordinator has stored a commit and before it has written the markers, Kafka 4.3.1 may
take the transaction for complete and never write them, in all of its partitions or in some (its log says "likely
deleted already" of partitions that have no leader yet). The next marker of the same producer id, whichever transaction
it ends, then commits or aborts these records too.

``client`` is an AIOKafkaClient. Every function raises KafkaError if the brokers cannot answer now.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, LeaderNotAvailableError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords

from streams.kafka import internals

READ_UNCOMMITTED, READ_COMMITTED = 0, 1
"""Kafka's isolation levels, as numbers in its requests."""
LATEST: Final = -1
"""The timestamp in an OffsetRequest that asks for the partition's end, or for its last stable offset with
READ_COMMITTED."""
EARLIEST: Final = -2
"""The timestamp that asks for the first offset."""
CONSUMER: Final = -1
"""The replica id in a request that a client sends. A broker would send its own id."""
FETCH_WAIT_MS: Final = 100
"""How long a broker may hold a fetch request while it has no records."""
FETCH_BYTES: Final = 4 * 1_048_576
"""How much one fetch request returns at most, unless a single batch is larger."""
POLL_S: Final = 0.01
"""The pause between two looks at whether a transaction marker was written."""
LIMIT_S: Final = 5.0
"""How long ``until_no_open_transaction`` waits for a transaction marker."""


async def open_transactions(client: Any, tp: TopicPartition) -> range:
    """The offsets from the last stable offset to the partition's end; empty if no transaction is open."""
    stable, end = await asyncio.gather(end_offset(client, tp, READ_COMMITTED), end_offset(client, tp, READ_UNCOMMITTED))
    return range(stable, end)


async def until_no_open_transaction(client: Any, tp: TopicPartition) -> None:
    """Wait until no transaction of any producer is open. The broker acknowledges EndTxn before it writes the markers.

    Raises KafkaError if a transaction is still open after LIMIT_S, and as ``open_transactions`` does.
    """
    deadline = time.monotonic() + LIMIT_S
    while offsets := await open_transactions(client, tp):
        if time.monotonic() > deadline:
            raise KafkaError(
                f"{tp.topic}-{tp.partition}: a transaction stays open from offset {offsets.start} on; if its "
                "producer is none of now, kafka-transactions.sh finds and aborts it"
            )
        await asyncio.sleep(POLL_S)


async def open_records(client: Any, tp: TopicPartition, offsets: range, producer_id: int) -> list[Any]:
    """The records from ``offsets`` that one producer id has written behind its last transaction marker.

    ``offsets``: as from ``open_transactions``. A batch that begins or ends outside of them is read whole.
    """
    records: list[Any] = []
    offset = offsets.start
    while offset in offsets:
        partitions = [(tp.partition, offset, FETCH_BYTES)]
        request = FetchRequest(FETCH_WAIT_MS, 1, FETCH_BYTES, READ_UNCOMMITTED, [(tp.topic, partitions)])
        *_, fetched = await _ask_leader(client, tp, request)
        batches = MemoryRecords(fetched or b"")
        while batches.has_next():
            batch = batches.next_batch()
            offset = batch.next_offset
            if batch.producer_id == producer_id:
                if batch.is_control_batch:
                    records.clear()
                else:
                    records += batch
    return records


async def first_offset(client: Any, tp: TopicPartition) -> int:
    """The first offset that Kafka still has of the partition; its end offset if there is none."""
    return await _listed_offset(client, tp, READ_UNCOMMITTED, EARLIEST)


async def end_offset(client: Any, tp: TopicPartition, isolation_level: int) -> int:
    """The partition's end offset, or its last stable offset if ``isolation_level`` is READ_COMMITTED."""
    return await _listed_offset(client, tp, isolation_level, LATEST)


async def _listed_offset(client: Any, tp: TopicPartition, isolation_level: int, timestamp: int) -> int:
    request = OffsetRequest(CONSUMER, isolation_level, [(tp.topic, [(tp.partition, timestamp)])])
    *_, offset = await _ask_leader(client, tp, request)
    return int(offset)


async def _ask_leader(client: Any, tp: TopicPartition, request: Any) -> Any:
    """Send a request on one partition to its leader; returns the partition's tuple in the response.

    If there is no leader, or the leader reports an error, this raises KafkaError and lets the client refresh its
    metadata: the next try may find another leader.
    """
    await internals.wait_for_metadata(client, tp.topic)
    leader = client.cluster.leader_for_partition(tp)
    if leader is None or leader < 0:
        client.force_metadata_update()
        raise LeaderNotAvailableError(tp)
    response = await client.send(leader, request)
    ((_, (reply,)),) = response.topics
    error_code = reply[1]  # an OffsetResponse and a FetchResponse both have (partition, error code, ...)
    if error_code:
        client.force_metadata_update()
        raise for_code(error_code)(tp)
    return reply
