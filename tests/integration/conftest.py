"""Fixtures of the integration tests: a deployment of the test's own, and a worker in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.access.accounts import Accounts
from streams.settings.table import Settings
from tests.support.accounts import add_users
from tests.support.workers import Deployment, Worker


@pytest.fixture
def deployment(broker: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with new topics. The settings are for tests: a dead worker loses its partitions after 6 s."""
    made = Deployment(broker, redis_url, tmp_path, settings={"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200})
    made.create_topics()
    yield made
    made.end_all()


@pytest.fixture
def no_users(redis_url: str) -> Iterator[None]:
    """Remove all users: an audit asks for every account in Redis, and other tests leave some there."""

    async def remove() -> None:
        accounts = Accounts.connect(Settings(redis=redis_url))
        for user in await accounts.list_users():
            await accounts.remove_user(user.user_id)
        await accounts.close()

    asyncio.run(remove())
    yield
    asyncio.run(remove())


@pytest.fixture
def worker_settings() -> dict[str, object]:
    """Settings of the fixture `worker`. A module that needs others overrides this fixture."""
    return {}


@pytest.fixture
def worker(deployment: Deployment, worker_settings: dict[str, object]) -> Iterator[Worker]:
    """A worker that is ready. The user u1 exists, with TOKEN."""
    add_users(deployment, ["u1"])
    with Worker(deployment.with_settings(**worker_settings)) as started:
        yield started.wait_ready()
