"""Contexts with the clients for single requests: to any broker, and about topics and groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient

from streams.kafka.clients import Kafka

REQUEST_LIMIT_MS: Final = 10_000
"""How long each request to the broker may take. Creating a topic of many partitions takes seconds on a busy cluster."""


@asynccontextmanager
async def connected_client(kafka: Kafka) -> AsyncIterator[AIOKafkaClient]:
    """A context with a client that is connected. Raises KafkaError if the broker cannot be reached."""
    client = kafka.client()
    try:
        await client.bootstrap()
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def admin_client(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A context with a started admin client. Raises KafkaError if the broker cannot be reached."""
    admin = kafka.admin(request_timeout_ms=REQUEST_LIMIT_MS)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
