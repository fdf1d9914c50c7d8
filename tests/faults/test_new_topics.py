"""A topic that one broker has just created is used although the others do not know of it yet."""

from __future__ import annotations

import asyncio

from aiokafka.admin import NewTopic

from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.topics import topic_settings
from tests.support.workers import Deployment

TOPICS = 40
"""Enough that a broker is asked too early about some of them: it is one in ten or more."""


def test_the_settings_of_a_topic_are_found_as_soon_as_it_is_created(deployment: Deployment) -> None:
    kafka = Kafka.of(deployment.loaded())
    names = [f"{deployment.name}-{number}" for number in range(TOPICS)]

    async def find_all() -> list[dict[str, dict[str, str]]]:
        async with admin_client(kafka) as here, admin_client(kafka) as there:
            found = []
            for name in names:
                await here.create_topics([NewTopic(name, 4, 1, topic_configs={"retention.ms": "60000"})])
                found.append(await topic_settings(there, [name]))
            return found

    for name, settings in zip(names, asyncio.run(find_all()), strict=True):
        assert settings[name]["retention.ms"] == "60000"
