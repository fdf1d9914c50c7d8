"""The simulated switches of ``ecounters run``: whose calls they make, how many, and from when on."""

from __future__ import annotations

from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from ecounters.simulator.world import SWITCHES_MIN
from streams.kafka.publisher import Outgoing, publisher
from streams.kafka.topics import count_partitions
from streams.settings.table import Settings

USER: Final = "u1"
"""The first of the simulated accounts, and the one with the most calls."""
SIMULATED_USERS: Final = 3
SIMULATED_RATE: Final = 1.0
"""Calls a second, in the mean of a day. The embedded broker has to keep them all in memory."""
SIMULATED_BEFORE_MS: Final = 3 * 3_600_000
"""The first run begins so long ago, to have something to show."""


async def holds_events(settings: Settings) -> bool:
    """Whether anything was ever published."""
    partitions = [
        TopicPartition(settings.topic, at) for at in range(await count_partitions(settings.broker, settings.topic))
    ]
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    await consumer.start()
    try:
        return any((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()


async def restart_switches(settings: Settings, at_ms: int) -> None:
    """Say what a switch says when it comes up: the calls of the last run ended with it, though nobody saw how."""
    async with publisher(settings.broker, settings.topic) as publishing:
        for switch in (f"sw{at + 1}" for at in range(SWITCHES_MIN)):
            event = {"id": f"up-{switch}-{at_ms}", "type": "switch.restarted", "ts": at_ms, "switchId": switch}
            await publishing.put(Outgoing(orjson.dumps(event), None, True, None))
