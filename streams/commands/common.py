"""What commands share: settings from the environment and options, and how failures of Kafka and Redis are told."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from ecounters.errors import Stop
from streams.basics.text import one_line
from streams.settings.table import PREFIX, Settings, load, masked

T = TypeVar("T")


def settings_with(**options: object) -> Settings:
    """The settings of the environment; options that were given stand in for the variables of their names."""
    given = {PREFIX + name.upper(): str(value) for name, value in options.items() if value is not None}
    return load({**os.environ, **given})


def run_to_end(settings: Settings, work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. That Kafka or Redis is not there becomes one line."""
    # Its own lines about a broker that is away would come on top of the one below.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except KafkaError as error:
        raise Stop(f"Kafka at {settings.broker}: {one_line(error)}") from error
    except RedisError as error:
        raise Stop(f"Redis at {masked(settings.redis)}: {one_line(error)}") from error
