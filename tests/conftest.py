"""Fixtures for all tests: one embedded broker and one store for the whole run of one process."""

from __future__ import annotations

import os
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.local.children import Guard
from streams.local.embedded import Embedded

HOOK = Path(__file__).parent.parent / "deploy" / "build_hook.py"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to test what was compiled from other sources."""
    if not hasattr(session.config, "workerinput") and runpy.run_path(str(HOOK))["stale"]():
        raise pytest.UsageError("the sources of the domain have changed since they were compiled: make .venv/.test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests with equal ids: pytest-xdist would run only one of them and say nothing."""
    twice = [node for node, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests have the id {twice[0]}")


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """Start an embedded broker and store on free ports; both end with this process, even if it is killed."""
    with Guard() as guard:
        server = Embedded.start(tmp_path_factory.mktemp("embedded") / "store")
        guard.watch(server.child)
        yield server
        server.kill()  # faster than an orderly stop, which writes all data to disk
        guard.release(server.child)


@pytest.fixture(scope="session")
def redis_url(embedded: Embedded) -> str:
    """The URL of a Redis for tests: ECOUNTERS_TEST_REDIS, or else the embedded store."""
    return os.environ.get("ECOUNTERS_TEST_REDIS") or embedded.redis_url


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> str:
    """The address of a Kafka for tests: ECOUNTERS_TEST_BROKER, or else the embedded broker."""
    given = os.environ.get("ECOUNTERS_TEST_BROKER")
    if given:
        return given
    server: Embedded = request.getfixturevalue("embedded")
    return server.broker
