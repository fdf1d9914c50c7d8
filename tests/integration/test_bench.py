"""The bench reads the start of a worker from its log."""

from __future__ import annotations

from tests.bench.measure import restored
from tests.support.workers import Deployment, Worker


def test_the_bench_finds_assignment_and_restores_in_a_workers_log(deployment: Deployment) -> None:
    """The log of a worker has the lines and times that the bench looks for."""
    with Worker(deployment).wait_ready() as worker:
        start = restored(worker.log)
    assert start is not None
    assert (start.partitions, start.entries) == (deployment.partitions, 0)
    assert start.shared_out <= start.first <= start.last
