"""Failures of Kafka and Redis become one line that says which server it was."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError

from ecounters.errors import Stop
from streams.access.store import connect
from streams.basics.collector import GC_THRESHOLDS
from streams.settings.table import Settings
from streams.tools.run_to_end import LOCAL_HINT, run_to_end

NOWHERE = "127.0.0.1:1"
"""An address at which nothing listens."""
SETTINGS = Settings(broker="kafka-1:9092", redis="redis://me:hunter2@redis-1:6379/0")


async def work(error: Exception | None) -> str:
    """Fail with an error, or be done."""
    await asyncio.sleep(0)
    if error is not None:
        raise error
    return "done"


def test_a_result_is_handed_back() -> None:
    """Where nothing fails."""
    assert run_to_end(SETTINGS, work(None)) == "done"


def test_the_collector_passes_over_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default each full collection would visit all entries of a state that is exported."""
    set_to: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *to: set_to.append(to))
    run_to_end(SETTINGS, work(None))
    assert set_to == [GC_THRESHOLDS]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KafkaConnectionError("not\n there"), "Kafka at kafka-1:9092: KafkaConnectionError: not there"),
        (RedisConnectionError("refused"), "Redis at redis://***@redis-1:6379/0: refused"),
    ],
)
def test_a_failure_is_one_line_without_a_password(error: Exception, line: str) -> None:
    """It names the server's address."""
    with pytest.raises(Stop) as stop:
        run_to_end(SETTINGS, work(error))
    assert str(stop.value) == line


async def ask_kafka() -> None:
    """Connect to where no broker is."""
    client = AIOKafkaClient(bootstrap_servers=NOWHERE)
    await client.bootstrap()


async def ask_redis() -> None:
    """Connect to where no Redis is."""
    redis = connect(f"redis://{NOWHERE}/0")
    try:
        await redis.get("x")
    finally:
        await redis.aclose()


@pytest.mark.parametrize(("ask", "server"), [(ask_kafka, "Kafka"), (ask_redis, "Redis")])
def test_a_server_of_this_machine_that_does_not_run_is_hinted_at(
    ask: Callable[[], Coroutine[Any, Any, None]], server: str
) -> None:
    """In words, and with what may help; of another machine's server there is no hint."""
    here = Settings(broker=NOWHERE, redis=f"redis://{NOWHERE}/0")
    with pytest.raises(Stop) as stop:
        run_to_end(here, ask())
    assert str(stop.value).startswith(f"{server} at ") and "no connection can be made" in str(stop.value)
    assert str(stop.value).endswith(f": {LOCAL_HINT}")
    assert not any(sign in str(stop.value) for sign in ("[", "('", "<"))
    with pytest.raises(Stop) as stop:
        run_to_end(SETTINGS, ask())
    assert "no connection can be made" in str(stop.value) and LOCAL_HINT not in str(stop.value)
