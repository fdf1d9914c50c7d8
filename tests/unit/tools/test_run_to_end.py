"""Failures of Kafka and Redis become one line that says which server it was."""

from __future__ import annotations

import asyncio
import gc

import pytest
from aiokafka.errors import KafkaConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError

from ecounters.errors import Stop
from streams.basics.collector import GC_THRESHOLDS
from streams.settings.table import Settings
from streams.tools.run_to_end import run_to_end

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
