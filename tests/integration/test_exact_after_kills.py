"""The promise "exact": whatever happens to the workers, the counters equal a recount of the log."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.engine.flushing import BUSY_INTERVALS
from tests.support.accounts import add_users
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, first_messages
from tests.support.recount_check import assert_recounted
from tests.support.workers import Deployment, Worker

INTERVAL_S = 0.5
"""Between two flushes of a partition of the fixture ``busy`` while it is not busy."""


def test_20_kills_and_5_joins_change_no_counter(deployment: Deployment) -> None:
    """After 20 kills at random moments, while a second worker joins and leaves, the counters equal the recount."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    messages = first_messages(chaos_plan(seed=2), 100_000)
    chance = random.Random(2)
    feed = LogPublisher(deployment, messages, rate=1_250, misroute_every=500)
    second: Worker | None = None
    worker = Worker(deployment)
    for kill in range(20):
        if chance.random() < 0.7:  # otherwise it is killed while it starts or restores
            worker.wait_ready()
        time.sleep(chance.uniform(0.0, 1.5))  # so that the kill comes at a random moment
        worker.kill()
        worker = Worker(deployment, replaces=worker)
        if kill % 4 == 0:
            second = Worker(deployment).wait_ready()
        elif kill % 4 == 2 and second is not None:
            second.end()
    feed.wait()
    worker.wait_ready()
    assert_recounted(deployment, [worker])


@pytest.fixture
def busy(broker: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """Three partitions. Each is busy from 19,000 unsaved bytes on, which the test's load makes in a second at most."""
    settings = {"SESSION_TIMEOUT_S": 6, "FLUSH_BYTES": 300_000, "FLUSH_INTERVAL_MS": round(INTERVAL_S * 1_000)}
    made = Deployment(broker, redis_url, tmp_path, partitions=3, settings=settings)
    made.create_topics()
    yield made
    made.end_all()


def test_kills_of_busy_partitions_change_no_counter(busy: Deployment) -> None:
    """Busy partitions are flushed less often; what kills and a join lose of their changes is counted again."""
    add_users(busy, (f"u{n + 1}" for n in range(USERS)))
    chance = random.Random(3)
    feed = LogPublisher(busy, first_messages(chaos_plan(seed=3), 150_000), rate=2_000, misroute_every=5_000)
    worker = Worker(busy).wait_ready()
    flushes, seconds = flushes_in(worker, 5.0)
    assert 0 < flushes < busy.partitions * seconds / (2 * INTERVAL_S)
    for kill in range(6):
        time.sleep(chance.uniform(0.0, INTERVAL_S * BUSY_INTERVALS * 1.5))  # at any moment of a long interval
        worker.kill()
        worker = Worker(busy, replaces=worker).wait_ready()
        if kill == 2:
            second = Worker(busy).wait_ready()  # takes partitions over: their last flush is a large one
        elif kill == 4:
            second.end()
    assert feed.running
    feed.stop()
    assert_recounted(busy, [worker])


def flushes_in(worker: Worker, seconds: float) -> tuple[float, float]:
    """(how many flushes the worker makes in about so many seconds, in how many it made them)."""
    before, began = worker.metric("ecounters_flush_seconds_count"), time.monotonic()
    time.sleep(seconds)
    return worker.metric("ecounters_flush_seconds_count") - before, time.monotonic() - began
