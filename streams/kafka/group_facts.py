"""What Kafka knows of a consumer group: who is in it, and what it has committed. Asked without joining it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)

from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.rights import GROUP, needing
from streams.kafka.topics import KNOWN_POLL_S, KNOWN_POLLS

T = TypeVar("T")

_NOT_YET: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""A new cluster makes the topic that it keeps groups in at the first question, and a broker reads it when it starts."""


async def group_members(kafka: Kafka, group: str) -> list[str]:
    """The members of a group, each as "client id at host". A group that nobody knows has none.

    A worker that was killed stays a member until its session times out. Raises KafkaError.
    """
    return await _asked(kafka, group, lambda admin: _members(admin, group))


async def committed_offsets(kafka: Kafka, group: str, topic: str) -> dict[int, int]:
    """partition of the topic -> the offset that the group has committed. Partitions without one are left out.

    Raises KafkaError.
    """
    found = await _asked(kafka, group, lambda admin: admin.list_consumer_group_offsets(group))
    return {tp.partition: known.offset for tp, known in found.items() if tp.topic == topic and known.offset >= 0}


async def _asked(kafka: Kafka, group: str, ask: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    """What ``ask`` returns of a group. If its coordinator is not there yet, asks again, KNOWN_POLLS times at most."""
    with needing("Describe", GROUP, group):
        async with admin_client(kafka) as admin:
            for _ in range(KNOWN_POLLS):
                with suppress(*_NOT_YET):
                    return await ask(admin)
                await asyncio.sleep(KNOWN_POLL_S)
            return await ask(admin)


async def _members(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    (response,) = await admin.describe_consumer_groups([group])
    found = []
    for code, *_, members in (row[:6] for row in response.groups):
        if code:
            raise for_code(code)(group)
        found += [f"{client} at {host.lstrip('/')}" for _, client, host, *_ in members]
    return sorted(found)
