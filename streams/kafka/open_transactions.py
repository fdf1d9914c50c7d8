"""What Kafka has left undecided: records of a transaction that has neither a commit's nor an abort's mark.

Behind a partition's takeover there should be none. But when all brokers die between a commit's decision and its marks,
Kafka may take the transaction for ended and never write them ("likely deleted already", says its log of partitions that
have no leader yet; seen in 4.3.1), in all of its partitions or in some. The next mark of the same producer id, whatever
it is of, then decides on these records too.
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

UNCOMMITTED, COMMITTED = 0, 1
LATEST: Final = -1
FETCH_BYTES: Final = 4 * 1_048_576
POLL_S: Final = 0.01
LIMIT_S: Final = 5.0


async def open_transactions(client: Any, tp: TopicPartition) -> range:
    """The offsets behind what is decided. KafkaError if they cannot be had now."""
    decided = await _end(client, tp, COMMITTED)
    return range(decided, await _end(client, tp, UNCOMMITTED))


async def until_no_open_transaction(client: Any, tp: TopicPartition) -> None:
    """Wait for a mark that is on its way: it comes a little after the answer to who has ended the transaction.

    KafkaError if it does not come.
    """
    deadline = time.monotonic() + LIMIT_S
    while where := await open_transactions(client, tp):
        if time.monotonic() > deadline:
            raise KafkaError(
                f"{tp.topic}-{tp.partition}: a transaction stays undecided from offset {where.start} on; if its "
                "producer is none of now, kafka-transactions.sh finds and aborts it"
            )
        await asyncio.sleep(POLL_S)


async def records_of(client: Any, tp: TopicPartition, where: range, producer_id: int) -> list[Any]:
    """What one producer id has written there since its last mark. KafkaError if it cannot be had now."""
    found: list[Any] = []
    at = where.start
    while at in where:
        request = FetchRequest(100, 1, FETCH_BYTES, UNCOMMITTED, [(tp.topic, [(tp.partition, at, FETCH_BYTES)])])
        *_, sent = await _asked(client, tp, request)
        batches = MemoryRecords(sent or b"")
        while batches.has_next():
            batch = batches.next_batch()
            at = batch.next_offset
            if batch.producer_id == producer_id:
                if batch.is_control_batch:
                    found.clear()
                else:
                    found += batch
    return found


async def _end(client: Any, tp: TopicPartition, isolation: int) -> int:
    request = OffsetRequest(-1, isolation, [(tp.topic, [(tp.partition, LATEST)])])
    *_, offset = await _asked(client, tp, request)
    return int(offset)


async def _asked(client: Any, tp: TopicPartition, request: Any) -> Any:
    """What its leader answers of the partition."""
    await internals.wait_for_metadata(client, tp.topic)
    leader = client.cluster.leader_for_partition(tp)
    if leader is None or leader < 0:
        client.force_metadata_update()
        raise LeaderNotAvailableError(tp)
    response = await client.send(leader, request)
    ((_, (answer,)),) = response.topics
    if answer[1]:  # the error's code stands behind the partition, whatever was asked
        client.force_metadata_update()
        raise for_code(answer[1])(tp)
    return answer
