"""What brokers say of topics, again and again."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any, cast

from aiokafka.client import AIOKafkaClient

from streams.kafka import metadata
from streams.kafka.metadata import cluster_facts

PARTITIONS = 256


def answer(topic_id: bytes) -> bytes:
    """The bytes in which a broker describes a topic."""
    partitions: list[Any] = [(0, at, 1, 0, [1], [1], [], {}) for at in range(PARTITIONS)]
    topics: list[Any] = [(0, "events", topic_id, False, partitions, 8, {})]
    response = metadata._MetadataResponse(0, [(1, "host", 9092, None, {})], "cluster", 1, topics, {})
    return bytes(response.encode())


def test_an_answer_is_decoded_once_however_often_it_comes_and_another_one_is_noticed() -> None:
    """A worker asks before each flush. What makes a topic another one are 16 bytes among all."""
    decode = metadata._MetadataResponse.decode
    first, other = answer(b"a" * 16), answer(b"b" * 16)
    assert decode(BytesIO(first)) is decode(bytes(bytearray(first)))
    for content, topic_id in ((first, b"a"), (other, b"b"), (first, b"a")):

        class Client:
            """A client that gets this answer."""

            get_random_node = staticmethod(lambda: 1)

            async def send(self, node: int, request: Any, content: bytes = content) -> Any:
                """As a connection decodes it."""
                return decode(BytesIO(content))

        found = asyncio.run(cluster_facts(cast(AIOKafkaClient, Client()), ["events"])).topics["events"]
        assert (found.topic_id, found.partitions, found.copies) == ((topic_id * 16).hex(), PARTITIONS, 1)
