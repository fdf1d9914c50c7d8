"""Who is in a consumer group now."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from streams.kafka.topics import REQUEST_LIMIT_MS


async def group_members(broker: str, group: str) -> list[str]:
    """The members of a group, each as "client id at host". A group that nobody knows has none. Raises KafkaError.

    A worker that was killed stays a member until its session times out.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=REQUEST_LIMIT_MS)
    try:
        await admin.start()
        (response,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    found = []
    for code, *_, members in (row[:6] for row in response.groups):
        if code:
            raise for_code(code)(group)
        found += [f"{client} at {host.lstrip('/')}" for _, client, host, *_ in members]
    return sorted(found)
