"""Places for integration tests: topics of their own on the one broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.settings.load import load
from tests.support.accounts import add_users
from tests.support.workers import Deployment, Worker


@pytest.fixture
def deployment(broker: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of the test's own, and settings for tests: a dead worker is noticed soon."""
    made = Deployment(broker, redis_url, tmp_path, settings={"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200})
    environment = {name: value for name, value in made.environment().items() if name.startswith("ECOUNTERS_")}
    settings = load(environment)
    asyncio.run(ensure_topics(settings.broker, TopicsSpec.of(settings)))
    yield made
    made.end_all()


@pytest.fixture
def worker_settings() -> dict[str, object]:
    """Settings of the fixture `worker` that a module needs; a module overrides this fixture."""
    return {}


@pytest.fixture
def worker(deployment: Deployment, worker_settings: dict[str, object]) -> Iterator[Worker]:
    """A worker that is ready, and knows the user u1."""
    add_users(deployment, ["u1"])
    with Worker(deployment.with_settings(**worker_settings)) as started:
        yield started.wait_ready()
