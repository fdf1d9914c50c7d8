"""A changelog cannot be taken over while Kafka is only just starting."""

from __future__ import annotations

import asyncio
import struct

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka.changelog_writer import ChangelogTakeover
from streams.kafka.clients import Kafka
from streams.kafka.shared_clients import SharedClients

METADATA, API_VERSIONS = 3, 18


async def starting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Replies as a broker does in its first moments: its metadata names no broker, not even itself."""
    try:
        while size := await reader.read(4):
            request = await reader.readexactly(struct.unpack(">i", size)[0])
            api, _, correlation = struct.unpack_from(">hhi", request)
            if api == API_VERSIONS:  # no error; of two requests it knows the first version
                body = struct.pack(">hi6h", 0, 2, METADATA, 0, 0, API_VERSIONS, 0, 0)
            else:
                body = struct.pack(">ii", 0, 0)  # metadata, version 0: no brokers, no topics
            writer.write(struct.pack(">ii", 4 + len(body), correlation) + body)
    finally:
        writer.close()


def test_a_takeover_from_a_cluster_without_brokers_is_a_kafka_error() -> None:
    """It ends like any other failure of Kafka, so the restore is tried again."""

    async def test() -> None:
        server = await asyncio.start_server(starting, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            clients = SharedClients(Kafka(f"{host}:{port}"))
            takeover = ChangelogTakeover(clients, "a-state-0", TopicPartition("changelog", 0), TopicPartition("dlq", 0))
            with pytest.raises(KafkaError, match="a-state-0"):
                await takeover.open()
            await takeover.close()
            await clients.close()

    asyncio.run(test())
