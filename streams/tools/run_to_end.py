"""Running a command's work to its end, and how failures of Kafka and Redis are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from ecounters.errors import Stop
from streams.basics.text import one_line
from streams.settings.table import Settings, masked

T = TypeVar("T")


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
