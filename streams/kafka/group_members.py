"""Who is in a consumer group now."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)

from streams.kafka.topics import KNOWN_POLL_S, KNOWN_POLLS, REQUEST_LIMIT_MS

_NOT_YET: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""A new cluster makes the topic that it keeps groups in at the first question, and a broker reads it when it starts."""


async def group_members(broker: str, group: str) -> list[str]:
    """The members of a group, each as "client id at host". A group that nobody knows has none.

    A worker that was killed stays a member until its session times out. If the group's coordinator is not there yet,
    asks again, KNOWN_POLLS times at most. Raises KafkaError.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=REQUEST_LIMIT_MS)
    try:
        await admin.start()
        for _ in range(KNOWN_POLLS):
            with suppress(*_NOT_YET):
                return await _members(admin, group)
            await asyncio.sleep(KNOWN_POLL_S)
        return await _members(admin, group)
    finally:
        await admin.close()


async def _members(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    (response,) = await admin.describe_consumer_groups([group])
    found = []
    for code, *_, members in (row[:6] for row in response.groups):
        if code:
            raise for_code(code)(group)
        found += [f"{client} at {host.lstrip('/')}" for _, client, host, *_ in members]
    return sorted(found)
