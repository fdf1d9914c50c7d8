"""Simulated logs, and publishing them at a given rate while a test does other things."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from ecounters.simulator.world import Plan, Published, simulate
from tests.support.workers import Deployment

SLICE_S: Final = 0.02
OUTAGE_MS: Final = 180_000
"""A broker may be away for this long before publishing fails."""


@cache
def yesterday_ms() -> int:
    """Yesterday's midnight (UTC) in ms, where logs begin: they differ from day to day in the date alone.

    Cached: a test whose run passes midnight asks for the day of its log, not for the next one.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today - timedelta(days=1)).timestamp() * 1000)


USERS: Final = 12


def chaos_plan(seed: int) -> Plan:
    """A simulation with chaos of about ten events a second of log time.

    100,000 events are hours of log time: in these calls are reaped, and switches restart and send snapshots.
    """
    return Plan(yesterday_ms(), seed=seed, users=USERS, rate_per_s=1.2, chaos=True)


def first_messages(chaos_plan: Plan, events: int) -> list[Published]:
    """The first messages of a simulation; ``events``: how many."""
    return list(itertools.islice(simulate(chaos_plan), events))


async def publish_messages(
    deployment: Deployment, messages: Iterable[Published], rate: float, misroute_every: int = 0
) -> None:
    """Publish messages to their partitions and wait for all acknowledgements.

    ``rate``: messages a second; 0: as fast as possible. ``misroute_every`` n: every n-th goes to a wrong partition.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=deployment.broker,
        acks="all",
        linger_ms=5,
        max_batch_size=200_000,
        request_timeout_ms=OUTAGE_MS,
    )
    await producer.start()
    sent = []
    try:
        began = time.monotonic()
        for at, (partition, key, value) in enumerate(_routed(messages, deployment.partitions, misroute_every)):
            sent.append(await producer.send(deployment.name, value, key=key, partition=partition))
            if len(sent) > 2_000:
                await asyncio.gather(*sent)
                sent = []
            if rate and at % 100 == 0:
                ahead = at / rate - (time.monotonic() - began)
                if ahead > SLICE_S:
                    await asyncio.sleep(ahead)
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _routed(
    messages: Iterable[Published], partitions: int, misroute_every: int
) -> Iterator[tuple[int, bytes | None, bytes]]:
    for at, message in enumerate(messages):
        if message.user_id is None:
            for partition in range(partitions):
                yield partition, None, message.value
            continue
        where = partition_of(message.user_id, partitions)
        if misroute_every and at % misroute_every == misroute_every - 1:
            where = (where + 1) % partitions
        yield where, message.user_id.encode(), message.value


class LogPublisher:
    """Publishes messages in a thread of its own, from its creation on.

    publisher = LogPublisher(deployment, messages, rate=1_000)
    ...  # kill workers meanwhile
    publisher.wait()
    """

    def __init__(
        self,
        deployment: Deployment,
        messages: Iterable[Published],
        rate: float,
        misroute_every: int = 0,
        users: int = 0,
    ) -> None:
        """``users``: ``stop`` waits until so many had a message, as a comparison of all of them needs."""
        self._users = users
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(deployment, self._until_stopped(messages), rate, misroute_every),
            name="feed",
            daemon=True,
        )
        self._thread.start()

    def _run(self, deployment: Deployment, messages: Iterable[Published], rate: float, misroute_every: int) -> None:
        try:
            asyncio.run(publish_messages(deployment, messages, rate, misroute_every))
        except BaseException as error:
            self._error = error

    def _until_stopped(self, messages: Iterable[Published]) -> Iterator[Published]:
        users: set[str] = set()
        for message in messages:
            if self._stopped.is_set() and len(users) >= self._users:
                return
            if message.user_id is not None:
                users.add(message.user_id)
            yield message

    def stop(self) -> None:
        """Publish no more messages, once so many ``users`` had one, and wait for those that are on their way."""
        self._stopped.set()
        self.wait()

    @property
    def running(self) -> bool:
        """Whether the thread still publishes."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait until everything is published. Raises what the thread raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
