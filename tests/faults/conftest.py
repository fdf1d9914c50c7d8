"""Fixtures of the fault tests: a cluster of three Apache Kafka nodes, which the tests may kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka_cluster import Cluster
from tests.support.workers import Deployment

FAULTS = "ECOUNTERS_TEST_FAULTS"
"""The variable that turns these tests on; `make test-kafka` sets it. They need Java, Maven and some minutes."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with three copies of each topic. Any one node may be lost."""
    if not os.environ.get(FAULTS):
        pytest.skip("these tests kill an Apache Kafka of their own: `make test-kafka` runs them")
    with Cluster(tmp_path_factory.mktemp("cluster"), 3) as made:
        yield made


@pytest.fixture
def deployment(cluster: Cluster, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with new topics in three copies."""
    settings = {"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200, "REPLICATION": 3}
    made = Deployment(cluster.address, redis_url, tmp_path, settings=settings)
    made.create_topics()
    yield made
    made.end_all()
