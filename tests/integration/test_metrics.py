"""The metrics of real workers: clean by Prometheus' own check, and by partition of those that have it."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from importlib.metadata import version

import pytest

from ecounters.native import BUILD
from streams.web.paths import METRICS_PATH, READY_PATH
from tests.support.accounts import TOKEN, add_users
from tests.support.builders import encoded
from tests.support.prometheus import program
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.workers import PATH, Deployment, Worker

UNTIL_S = 20.0
_SERIES = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


def text_of(worker: Worker) -> str:
    """What a scrape gets."""
    return worker.request("GET", METRICS_PATH).body.decode()


def series(worker: Worker) -> dict[str, float]:
    """Name with labels -> value."""
    return {name: float(value) for name, value in _SERIES.findall(text_of(worker))}


def partitions(worker: Worker) -> set[str]:
    """Those of which a worker shows the lag."""
    return set(re.findall(r'^ecounters_partition_lag_seconds\{partition="(\d+)"\}', text_of(worker), re.MULTILINE))


@pytest.fixture
def counted(deployment: Deployment) -> Worker:
    """A worker that has counted a call, and refused an event."""
    add_users(deployment, ["u1"])
    worker = Worker(deployment).wait_ready()
    publish_values(
        deployment, "u1", *RecentCall("c1", "u1").started(0).values(), encoded({"type": "of.no.kind", "userId": "u1"})
    )
    wait_for_counter(worker, "u1", "LCT", {"CTC": 1})
    return worker


def test_promtool_finds_nothing_to_mend(counted: Worker) -> None:
    """Names, units, texts and types of all metrics, with those of the process."""
    text = text_of(counted)
    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text
    command = [program("promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_metrics_tell_what_a_worker_does(counted: Worker) -> None:
    """Requests by route, method and code; probes apart; the release; dead letters by reason; Redis; the clock."""
    counted.request("GET", READY_PATH)
    counted.request("GET", "/nowhere/u1")
    before = series(counted)
    counted.ask({"userId": "u1", "token": TOKEN})
    now = series(counted)
    asked = f'{{code="200",method="POST",route="{PATH}"}}'
    assert now[f"ecounters_requests_total{asked}"] == before[f"ecounters_requests_total{asked}"] + 1
    assert now['ecounters_requests_total{code="404",method="GET",route="?"}'] == 1
    assert now[f'ecounters_probes_total{{code="200",route="{METRICS_PATH}"}}'] >= 1
    assert now[f'ecounters_probes_total{{code="200",route="{READY_PATH}"}}'] >= 1
    assert not [name for name in now if "ecounters_request" in name and METRICS_PATH in name]
    own = f'version="{version("ecounters")}",worker="{counted.name}"'
    release = f'build="{BUILD}",python="{platform.python_version()}",{own}'
    assert now[f"ecounters_build_info{{{release}}}"] == 1
    assert now['ecounters_events_refused_total{reason="unknown_type"}'] == 1
    assert now["ecounters_redis_seconds_count"] >= 1
    assert 0 <= now["ecounters_clock_difference_seconds"] < 5
    assert now["ecounters_rebalances_total"] >= 1


def test_the_series_of_a_partition_are_those_of_its_owner(counted: Worker, deployment: Deployment) -> None:
    """They vanish when it is given up, and the next owner has them; both tell how long nobody read it."""
    everything = {str(number) for number in range(deployment.partitions)}
    assert partitions(counted) == everything
    assert series(counted)["ecounters_partition_unowned_seconds_count"] == len(everything)
    deadline = time.monotonic() + UNTIL_S
    with Worker(deployment).wait_ready() as other:
        while not (partitions(other) and partitions(counted) | partitions(other) == everything):
            assert time.monotonic() < deadline, other.log_tail()
            time.sleep(0.1)
        assert not partitions(counted) & partitions(other)
        moved = partitions(other)
        while series(other)["ecounters_partition_unowned_seconds_count"] < len(moved):
            assert time.monotonic() < deadline, other.log_tail()
            time.sleep(0.1)
        rows = series(other)
        for partition in moved:
            assert rows[f'ecounters_partition_restored_ratio{{partition="{partition}"}}'] == 1
            assert rows[f'ecounters_partition_changelog_entries{{partition="{partition}"}}'] >= 1
            assert rows[f'ecounters_partition_lag_events{{partition="{partition}"}}'] == 0
