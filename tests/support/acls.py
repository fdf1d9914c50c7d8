"""Rights on a secured Apache Kafka: listing them, taking one away, giving it back. By the listener PLAINTEXT."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest

from tests.support.kafka_cluster import Cluster
from tests.support.workers import ROOT, Deployment

KINDS: Final = {2: "topic", 3: "group", 5: "transactional-id"}
OPERATIONS: Final = {3: "Read", 4: "Write", 5: "Create", 6: "Delete", 7: "Alter", 8: "Describe", 10: "DescribeConfigs"}
ANY, ANY_PATTERN, ALLOW = 1, 1, 3
"""Numbers in Kafka's requests: any kind or operation, any pattern, a permission."""
POLL_S: Final = 0.02


class Acl(NamedTuple):
    """A right, by Kafka's numbers, and the names by which kafka-acls.sh knows them."""

    kind: int
    name: str
    pattern: int
    operation: int

    @property
    def words(self) -> str:
        """As "Read on topic t1"."""
        return f"{OPERATIONS[self.operation]} on {KINDS[self.kind]} {self.name}"


def give_rights(cluster: Cluster, deployment: Deployment, **principals: str) -> None:
    """Run deploy/kafka/acls.sh with the real kafka-acls.sh. ``principals``: WORKER, OPERATOR, PUBLISHER."""
    settings = deployment.loaded()
    environment = {
        "PATH": f"{cluster.scripts()}:{os.environ['PATH']}", "ECOUNTERS_BROKER": cluster.address,
        "ECOUNTERS_TOPIC": settings.topic, "ECOUNTERS_APP_ID": settings.app_id, **principals,
    }  # fmt: skip
    done = subprocess.run([ROOT / "deploy/kafka/acls.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)


def rights_of(broker: str, principal: str) -> list[Acl]:
    """All rights that a principal was given."""

    async def ask() -> list[Acl]:
        async with _Asking(broker) as ask_broker:
            response = await ask_broker(DescribeAclsRequest(ANY, None, ANY_PATTERN, principal, None, ANY, ANY))
        return [
            Acl(kind, name, pattern, operation)
            for kind, name, pattern, acls in response.resources
            for _, _, operation, _ in acls
        ]

    return sorted(asyncio.run(ask()))


@contextmanager
def without(broker: str, principal: str, acl: Acl) -> Iterator[None]:
    """A context in which a right is taken away. A broker learns of a change some ms after it was acknowledged."""
    one = (acl.kind, acl.name, acl.pattern, principal, "*", acl.operation, ALLOW)
    asyncio.run(_send(broker, DeleteAclsRequest(*one)))
    while acl in rights_of(broker, principal):
        time.sleep(POLL_S)
    try:
        yield
    finally:
        asyncio.run(_send(broker, CreateAclsRequest(*one)))
        while acl not in rights_of(broker, principal):
            time.sleep(POLL_S)


async def _send(broker: str, request: Any) -> None:
    async with _Asking(broker) as ask_broker:
        response = await ask_broker(request)
    results = getattr(response, "filter_responses", None) or response.creation_responses
    assert all(not result[0] for result in results), response


class _Asking:
    """A context with a function that sends a request to a broker."""

    def __init__(self, broker: str) -> None:
        self._broker = broker

    async def __aenter__(self) -> Any:
        self._client = AIOKafkaClient(bootstrap_servers=self._broker)
        await self._client.bootstrap()
        return lambda request: self._client.send(self._client.get_random_node(), request)

    async def __aexit__(self, *exc: object) -> None:
        await self._client.close()
