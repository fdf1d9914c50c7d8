"""More partitions for a state: every counter is kept, before, between and after."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from ecounters.simulator.world import Published, simulate
from streams.kafka.clients import Kafka
from streams.kafka.positions import read_positions
from tests.faults.kill_at_step import launcher_at
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited, ran
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, yesterday_ms
from tests.support.topics import wait_until_flushed
from tests.support.workers import ROOT, Deployment, Worker

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
        feed = LogPublisher(deployment, between, rate=1_000, misroute_every=300)
        while calls_of(worker) == counted:  # some of it is counted
            time.sleep(0.02)
        worker.end()
        assert feed.running, "all was published before the worker ended"
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


def kill_amid_import(deployment: Deployment, *args: str) -> None:
    """Run a command that imports, and kill it when it has written two partitions."""
    command = [sys.executable, "-m", *launcher_at("import", 3), *args]
    ended = subprocess.run(command, cwd=ROOT, env=deployment.environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    positions = asyncio.run(
        read_positions(Kafka.of(deployment.loaded()), deployment.loaded().changelog_topic, deployment.partitions)
    )
    assert len(positions) == 2


def test_a_growth_that_is_killed_amid_its_import_goes_on(deployment: Deployment, tmp_path: Path) -> None:
    """Until it is whole a worker refuses the state; the same command brings it to its end, and nothing differs."""
    add_users(deployment, NAMES)
    before, between, after = three_parts(seed=3)
    stop_before_the_end(deployment, before, between)
    grown = replace(deployment, partitions=12)
    grow = ("topics", "--grow", "12", "--yes", "--dir", str(tmp_path))
    kill_amid_import(grown, *grow)
    refused = Worker(grown)
    assert refused.process.wait(30) == 2
    assert "is not done" in refused.log_tail()
    exit_code, lines, err = ran(grown, "audit")
    assert exit_code == 1 and "did not come to its end" in err, (lines, err)
    exit_code, lines, err = ran(grown, *grow)
    assert exit_code == 0, (lines, err)
    with Worker(grown).wait_ready() as worker:
        publish(grown, after)
        exit_code, lines, err = audited(grown, worker)
        assert exit_code == 0, (lines, err)
        exit_code, lines, err = ran(grown, *grow)
        assert exit_code == 1 and f"workers of {grown.name} are running: " in err, (lines, err)
        worker.end()
    exit_code, lines, err = ran(grown, *grow)
    assert exit_code == 0 and "12 partitions already" in lines[0], (lines, err)


def test_fewer_partitions_in_a_new_topic_keep_every_counter(deployment: Deployment, tmp_path: Path) -> None:
    """From 8 to 4 in a new topic, with the rest of the old one copied, and a kill amid the import."""
    wide = replace(deployment, name=f"{deployment.name}w", partitions=8)
    wide.create_topics()
    add_users(wide, NAMES)
    before, between, after = three_parts(seed=4)
    stop_before_the_end(wide, before, between)
    file = str(tmp_path / "counters.state")
    exit_code, lines, err = ran(wide, "state", "export", file)
    assert exit_code == 0, (lines, err)
    exit_code, lines, err = ran(deployment, "state", "import", file)
    assert exit_code == 1 and "--from-start" in err and "--as-is" in err, (lines, err)
    arguments = ("state", "import", file, "--from-start", "--copy-rest", wide.name)
    kill_amid_import(deployment, *arguments)
    exit_code, lines, err = ran(deployment, *arguments)
    assert exit_code == 0, (lines, err)
    assert "were there from an earlier try" in lines[0], lines
    with Worker(deployment).wait_ready() as worker:
        publish(deployment, after)
        exit_code, lines, err = audited(deployment, worker)
        assert exit_code == 0, (lines, err)
        user = NAMES[0]
        exit_code, lines, err = ran(deployment, "explain", "--user", user, "--counter", "TC", "--date", "last7days")
        assert exit_code == 0 and f"TC of {user} is {calls_of(worker)[user]}," in err, err
