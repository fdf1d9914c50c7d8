"""The bench reads the start of a worker from its log, and measures by the cases of a table."""

from __future__ import annotations

import pytest

from tests.bench import growth as growth_module
from tests.bench import testbed as testbed_module
from tests.bench.growth import Case, growth
from tests.bench.measure import restored
from tests.support.workers import Deployment, Worker


def test_the_bench_finds_assignment_and_restores_in_a_workers_log(deployment: Deployment) -> None:
    """The log of a worker has the lines and times that the bench looks for."""
    with Worker(deployment).wait_ready() as worker:
        start = restored(worker.log)
    assert start is not None
    assert (start.partitions, start.entries) == (deployment.partitions, 0)
    assert start.shared_out <= start.first <= start.last


def test_the_growth_of_cost_is_measured_of_all_workers_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises Stop unless each worker had events, none was refused, and so many calls as the case says are live."""
    monkeypatch.setattr(growth_module, "NUMBERS", 300)
    monkeypatch.setattr(growth_module, "LINGER_MS", 1_000)
    case = Case(accounts=30, live=200, partitions=2, workers=2)
    with testbed_module.Testbed() as testbed:
        table = growth(testbed, 1, [("2 workers", case)], rounds=30)
    (cells,) = table.rows
    row = dict(zip(table.columns, cells, strict=True))
    assert all(float(row[name]) > 0 for name in ("events/s", "CPU µs", "alone/s", "entries", "flushes", "MiB"))
