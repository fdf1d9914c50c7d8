"""Batches that are corrupted between broker and client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka.checksums import check_fetched
from tests.support.topics import filled_topic

RECORDS = 50
HALF = 25
FIRST, LAST = 61, -1
"""A byte of the first batch's first record, and one of the last batch's last."""
LIMIT_S = 30.0


class BadWire:
    """Wraps a client and flips a bit in what it fetches of partition 0, as a broken network does."""

    def __init__(self, client: Any, times: int, position: int) -> None:
        self._client = client
        self.left = times
        self.position = position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; the first ``times`` replies to fetches are corrupted."""
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            for _, partitions in response.topics:
                for at, (partition, *head, records) in enumerate(partitions):
                    if partition == 0 and records and self.left:
                        self.left -= 1
                        corrupted = bytearray(records)
                        corrupted[self.position] ^= 1
                        partitions[at] = (partition, *head, bytes(corrupted))
        return response


async def read(
    broker: str, corruptions: int, wanted: dict[int, int], position: int
) -> tuple[dict[int, list[bytes]], BadWire]:
    """Publish to two partitions, two batches each, and read until the wanted numbers of records are there."""
    values = [b"%d" % at for at in range(RECORDS)]
    topic = await filled_topic(broker, 2, (values[:HALF], values[HALF:]))
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False, check_crcs=False
    )
    await consumer.start()
    try:
        wire = consumer._fetcher._client = BadWire(consumer._fetcher._client, corruptions, position)
        check_fetched(consumer)
        consumer.assign([TopicPartition(topic, partition) for partition in (0, 1)])
        got: dict[int, list[bytes]] = {0: [], 1: []}
        async with asyncio.timeout(LIMIT_S):
            while any(len(got[partition]) < count for partition, count in wanted.items()):
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    got[tp.partition] += [record.value for record in records]
        return got, wire
    finally:
        await consumer.stop()


@pytest.mark.parametrize(("position", "offset"), [(FIRST, 0), (LAST, HALF)])
def test_a_corrupt_batch_is_fetched_again_and_logged_once(
    broker: str, caplog: pytest.LogCaptureFixture, position: int, offset: int
) -> None:
    """After two corrupt fetches and a good one, all records are read once each and in order."""
    got, wire = asyncio.run(read(broker, 2, {0: RECORDS, 1: RECORDS}, position))
    assert wire.left == 0
    assert got == {partition: [b"%d" % at for at in range(RECORDS)] for partition in (0, 1)}
    logged = [record.getMessage() for record in caplog.records if record.name == "streams.kafka.checksums"]
    assert len(logged) == 1 and f"partition 0: the records from offset {offset} on" in logged[0], logged


@pytest.mark.parametrize(("position", "well"), [(FIRST, 0), (LAST, HALF)])
def test_a_batch_that_stays_corrupt_holds_up_no_other(broker: str, position: int, well: int) -> None:
    """Records before the corrupt batch and those of the other partition are read, and none of the corrupt batch."""
    got, _ = asyncio.run(read(broker, 1_000_000, {0: well, 1: RECORDS}, position))
    assert got[0] == [b"%d" % at for at in range(well)]
    assert got[1] == [b"%d" % at for at in range(RECORDS)]
