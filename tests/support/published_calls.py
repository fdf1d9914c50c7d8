"""Calls that begin about now, published for one user, and waiting until a worker has counted them."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from tests.support.accounts import TOKEN
from tests.support.builders import CallScript, encoded
from tests.support.workers import Deployment, Reply, Worker


class RecentCall(CallScript):
    """The events of a call, in seconds from now."""

    def values(self) -> list[bytes]:
        """As they are published: a test's times begin at noon of a day, these begin now."""
        shift = int(time.time() * 1000) - 60_000 - min(event["ts"] for event in self.events)
        return [
            encoded({**event, "ts": event["ts"] + shift, "id": f"{self.user}{event['id']}"}) for event in self.events
        ]


def publish_values(deployment: Deployment, user: str, *values: bytes | None) -> None:
    """Publish messages of one user."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=deployment.broker, max_request_size=2_000_000)
        await producer.start()
        try:
            for value in values:
                await producer.send_and_wait(
                    deployment.name, value, key=user.encode(), partition=partition_of(user, deployment.partitions)
                )
        finally:
            await producer.stop()

    asyncio.run(send())


def wait_for_counter(worker: Worker, user: str, key: str, value: object) -> Reply:
    """The answer once a key has that value; it must come soon."""
    deadline = time.monotonic() + 10
    while True:
        reply = worker.ask({"userId": user, "token": TOKEN})
        if reply.status == 200 and reply.json["message"][key] == value:
            return reply
        assert time.monotonic() < deadline, (reply, worker.log_tail())
        time.sleep(0.02)
