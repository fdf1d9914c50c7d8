"""Whether a worker has the rights that it needs, looked at before it begins: what Kafka lets one look at."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.group import HeartbeatRequest

from ecounters.errors import AccessRefused
from streams.kafka.metadata import TopicFacts
from streams.kafka.rights import GROUP, TOPIC, TRANSACTIONAL_ID, is_missing, missing_right, needing, remedy, right
from streams.kafka.topic_checks import Names

NO_GENERATION: Final = -1
NOBODY: Final = "nobody"
"""The generation and the member of a heartbeat that belongs to no member."""
NOT_NOW: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""A new cluster has no coordinators at the first question, also of transactions. Then the rights show later."""


def lacking(names: Names, facts: Mapping[str, TopicFacts]) -> AccessRefused | None:
    """The first right on a topic without which a worker cannot count; None if none is missing that Kafka tells of."""
    for name, operation in (
        (names.events, "Read"),
        (names.changelog, "Read"),
        (names.changelog, "Write"),
        *((name, "DescribeConfigs") for name in names),
    ):
        if is_missing(facts[name].rights, operation):
            return missing_right(operation, TOPIC, name)
    return None


def warnings(names: Names, facts: Mapping[str, TopicFacts]) -> list[str]:
    """One line for each right on a topic that a worker can do without for a time, and that is missing."""
    losses = (
        ("Write", names.events, "events that came to a wrong partition become dead letters"),
        ("Write", names.dlq, "dead letters are kept, and what came with them is not saved"),
        ("Read", names.dlq, "dead letters that were open when all brokers died are not settled, and new ones are kept"),
    )
    return [
        f"{name}: warning: Kafka does not allow {right(operation, TOPIC, name)}: {loss}; "
        f"{remedy(operation, TOPIC, name)}"
        for operation, name, loss in losses
        if is_missing(facts[name].rights, operation)
    ]


async def refuse_group(client: AIOKafkaClient, group: str) -> None:
    """Raise AccessRefused if this client may not be a member of a group.

    Asks by a heartbeat of a member that does not exist: Kafka looks at the right first, and changes nothing.
    ``client``: one that is bootstrapped. Raises KafkaError if no broker can be reached.
    """
    with needing("Read", GROUP, group), suppress(*NOT_NOW):
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        response = await client.send(coordinator, HeartbeatRequest(group, NO_GENERATION, NOBODY))
        if response.error_code == GroupAuthorizationFailedError.errno:
            raise GroupAuthorizationFailedError(group)


async def refuse_transactional_id(client: AIOKafkaClient, transactional_id: str) -> None:
    """Raise AccessRefused if this client may not even ask who coordinates a transactional id. Takes it from nobody.

    ``client``: one that is bootstrapped. Raises KafkaError if no broker can be reached.
    """
    with needing("Write", TRANSACTIONAL_ID, transactional_id), suppress(*NOT_NOW):
        await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
