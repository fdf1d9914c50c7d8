"""The rights that Kafka wants of a client, and the words about one that is missing.

Kafka names a right by an operation and a resource, as "Read on topic ecounters.events"; ``kafka-acls.sh`` gives it. An
error of Kafka names neither, so whoever sends a request says what the request needs: ``needing``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from ecounters.errors import AccessRefused

CODES: Final = {"Read": 3, "Write": 4, "DescribeConfigs": 10}
"""Operation -> Kafka's code for it: the number of its bit where Kafka tells what a client may do."""
TOPIC: Final = "topic"
GROUP: Final = "group"
TRANSACTIONAL_ID: Final = "transactional-id"
"""Kinds of resources, as options of kafka-acls.sh name them."""
REFUSED: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""The errors by which Kafka says that a right is missing."""


def missing_right(operation: str, kind: str, name: str) -> AccessRefused:
    """The error for a right that is missing: it names the right, and the command that gives it."""
    return AccessRefused(f"Kafka does not allow {right(operation, kind, name)}: {remedy(operation, kind, name)}")


def right(operation: str, kind: str, name: str) -> str:
    """A right as people write it."""
    return f"{operation} on {kind} {name}"


def remedy(operation: str, kind: str, name: str) -> str:
    """The command that gives a right."""
    return f"kafka-acls.sh --add --allow-principal User:NAME --operation {operation} --{kind} {name}"


@contextmanager
def needing(operation: str, kind: str, name: str) -> Iterator[None]:
    """A context for requests that need this right. Raises AccessRefused in place of an error of REFUSED."""
    try:
        yield
    except REFUSED as error:
        raise missing_right(operation, kind, name) from error


def is_missing(rights: int | None, operation: str) -> bool:
    """Whether a bit field of Kafka's tells that a right is missing. None: the broker does not tell."""
    return rights is not None and not rights >> CODES[operation] & 1
