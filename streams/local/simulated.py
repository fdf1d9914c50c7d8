"""``prepare_simulator``: for which users ``ecounters run`` simulates calls, how many, and from which time on."""

from __future__ import annotations

from typing import Final

import orjson
from aiokafka import TopicPartition

from ecounters.simulator.world import SWITCHES_MIN
from streams.basics.times import now_ms
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Outgoing, publisher
from streams.kafka.topics import count_partitions
from streams.settings.table import Settings

USER: Final = "u1"
"""The first of the simulated users, who has the most calls. ``ecounters run`` shows this user's counters."""
SIMULATED_USERS: Final = 3
SIMULATED_RATE: Final = 1.0
"""Calls per second, at all hours: whoever tries Ecounters at night sees it at work too. The embedded broker keeps their
events in memory."""
SIMULATED_BEFORE_MS: Final = 3 * 3_600_000
"""The first run also simulates so many ms of the past, so that there are counters to show at once."""


async def prepare_simulator(settings: Settings) -> list[str]:
    """Return the options of ``ecounters simulate`` for this run; may publish events.

    If the topic never had an event, the simulation starts SIMULATED_BEFORE_MS ago. Otherwise it starts now, because the
    log must not go back in time. Then this function first publishes a restart of all simulated switches, which ends the
    calls that the last run left. Raises KafkaError.
    """
    at_ms = now_ms()
    start_ms = at_ms - SIMULATED_BEFORE_MS
    if await _has_events(settings):
        start_ms = at_ms
        await _restart_switches(settings, at_ms)
    # The seed differs in each run. With equal seeds, each run would have the same calls at another hour.
    options = {"rate": SIMULATED_RATE, "users": SIMULATED_USERS, "start": start_ms, "seed": start_ms}
    return ["--steady", *(f"--{name}={value}" for name, value in options.items())]


async def _has_events(settings: Settings) -> bool:
    """Whether the topic ever had an event, even if Kafka has deleted it since."""
    count = await count_partitions(Kafka.of(settings), settings.topic, "Read")
    partitions = [TopicPartition(settings.topic, partition) for partition in range(count)]
    consumer = Kafka.of(settings).consumer()
    await consumer.start()
    try:
        return any((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()


async def _restart_switches(settings: Settings, at_ms: int) -> None:
    """Publish a switch.restarted event for each simulated switch, at ``at_ms``, to every partition."""
    async with publisher(Kafka.of(settings), settings.topic) as publishing:
        for switch in (f"sw{index}" for index in range(1, SWITCHES_MIN + 1)):
            event = {"id": f"up-{switch}-{at_ms}", "type": "switch.restarted", "ts": at_ms, "switchId": switch}
            await publishing.put(Outgoing(orjson.dumps(event), None, True, None))
