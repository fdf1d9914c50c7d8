"""Fixtures for all tests: one embedded broker and store for the whole run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from streams.local.children import Guard
from streams.local.embedded import Embedded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests with the same id pytest-xdist runs only one, and says nothing."""
    twice = [node for node, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests have the id {twice[0]}")


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """An embedded broker and store on free ports, ended with the test run, even with one that is killed."""
    with Guard() as guard:
        server = Embedded.start(tmp_path_factory.mktemp("embedded") / "store")
        guard.watch(server.child)
        yield server
        server.kill()  # nobody wants the data
        guard.release(server.child)


@pytest.fixture(scope="session")
def redis_url(embedded: Embedded) -> str:
    """A Redis to use."""
    return embedded.redis_url


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> str:
    """A Kafka to use: ECOUNTERS_TEST_BROKER, or the embedded one."""
    given = os.environ.get("ECOUNTERS_TEST_BROKER")
    if given:
        return given
    server: Embedded = request.getfixturevalue("embedded")
    return server.broker
