"""Publishing calls that begin about now, and waiting until a worker has counted them."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from tests.support.accounts import TOKEN
from tests.support.builders import CallScript, encoded
from tests.support.workers import Deployment, Reply, Worker


class RecentCall(CallScript):
    """The events of a call that began a minute ago. Times given to its methods are seconds after that start."""

    def values(self) -> list[bytes]:
        """The events as messages, with times of the present and ids of their own for each user."""
        shift = int(time.time() * 1000) - 60_000 - min(event["ts"] for event in self.events)
        return [
            encoded({**event, "ts": event["ts"] + shift, "id": f"{self.user}{event['id']}"}) for event in self.events
        ]


def publish_values(deployment: Deployment, user: str, *values: bytes | None) -> None:
    """Publish messages of one user to the user's partition. Returns when the broker has them all."""

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
    """Ask until a counter of the user has the value, and return that reply. AssertionError after 10 s."""
    deadline = time.monotonic() + 10
    while True:
        reply = worker.ask({"userId": user, "token": TOKEN})
        if reply.status == 200 and reply.json["message"][key] == value:
            return reply
        assert time.monotonic() < deadline, (reply, worker.log_tail())
        time.sleep(0.02)
