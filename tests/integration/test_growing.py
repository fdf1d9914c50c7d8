"""More partitions for a state: every counter is kept, before, between and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from ecounters.simulator.world import Published, simulate
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited, ran
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, yesterday_ms
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

NAMES = [f"u{n + 1}" for n in range(USERS)]
PART = 8_000

pytestmark = pytest.mark.usefixtures("no_users")


def three_parts(seed: int) -> list[list[Published]]:
    """The messages of a simulation with chaos, in three parts that follow on one another."""
    messages = simulate(chaos_plan(seed))
    return [list(islice(messages, PART)) for _ in range(3)]


def publish(deployment: Deployment, messages: Sequence[Published]) -> None:
    """Publish messages, some of them to a wrong partition."""
    LogPublisher(deployment, messages, rate=0, misroute_every=300).wait()


def calls_of(worker: Worker) -> dict[str, int]:
    """user -> how many calls of all time are counted."""
    body = {"token": TOKEN, "filter": [{"field": "date", "op": "gte", "value": yesterday_ms()}]}
    return {user: worker.ask({"userId": user, **body}).json["message"]["TC"] for user in NAMES}


def stop_before_the_end(
    deployment: Deployment, before: Sequence[Published], between: Sequence[Published]
) -> dict[str, int]:
    """Count the first part, and stop the worker while the second is being published: some of it is counted.

    Returns how many calls each user has in the first part.
    """
    with Worker(deployment).wait_ready() as worker:
        publish(deployment, before)
        wait_until_flushed(deployment)
        counted = calls_of(worker)
        feed = LogPublisher(deployment, between, rate=0, misroute_every=300)
        worker.end()
        feed.wait()
    return counted


@pytest.mark.parametrize("partitions", [8, 6])
def test_growing_under_chaos_keeps_every_counter(deployment: Deployment, tmp_path: Path, partitions: int) -> None:
    """From 4 partitions to 8, and to 6, with events before, between and after: the audit of all is equal."""
    add_users(deployment, NAMES)
    before, between, after = three_parts(seed=partitions)
    counted = stop_before_the_end(deployment, before, between)
    exit_code, lines, err = ran(deployment, "topics", "--grow", str(partitions), "--yes", "--dir", str(tmp_path))
    assert exit_code == 0, (lines, err)
    assert (tmp_path / f"{deployment.name}-{partitions}-partitions.state").exists()
    grown = replace(deployment, partitions=partitions)
    with Worker(grown).wait_ready() as worker:
        publish(grown, after)
        exit_code, lines, err = audited(grown, worker)
        assert exit_code == 0, (lines, err)
        assert lines[-1].startswith("equal: ")
        now_counted = calls_of(worker)
        assert all(now_counted[user] > counted[user] > 0 for user in NAMES[:-1])  # chaos erases the last one
