"""The rounds of `make faults` in which partitions are added while events keep coming."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.faults.environment_rounds import ROUNDS
from tests.faults.testbed import Testbed
from tests.faults.worker_rounds import register_round
from tests.support.workers import ROOT

__all__ = ["ROUNDS"]

MORE: Final = 4
"""So many partitions are added each time: from 4 to 8, which takes users of each partition apart, and then to 12, which
also joins users of different ones."""
GROW_LIMIT_S: Final = 120.0
LATEST_KILL_S: Final = 6.0


def grown(testbed: Testbed, *, kills: int) -> None:
    """Stop all workers, add partitions, and start workers again. ``kills``: how often the command is killed."""
    for worker in list(testbed.workers):
        testbed.wait_settled()  # a worker that ends amid a rebalance may be cut short
        testbed.stop_worker(worker)
    partitions = testbed.deployment.partitions + MORE
    directory = Path(testbed.deployment.log_dir)
    command = ["topics", "--grow", f"{partitions}", "--yes", "--dir", f"{directory}"]
    with (directory / f"grow-{partitions}.log").open("ab") as log:
        while True:
            process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", *command],
                cwd=ROOT, env=testbed.deployment.environment(), stdout=log, stderr=log,
            )  # fmt: skip
            try:
                code = process.wait(testbed.chance.uniform(0.5, LATEST_KILL_S) if kills else GROW_LIMIT_S)
                assert code == 0, f"topics --grow: {code}: {Path(log.name).read_text()[-2_000:]}"
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                assert kills, f"topics --grow takes too long: {Path(log.name).read_text()[-2_000:]}"
                kills -= 1
                testbed.tally["kills of the growth"] += 1
    testbed.tally["growths"] += 1
    testbed.go_on_with(partitions)
    for _ in range(2):
        testbed.start_worker()
    testbed.wait_settled()


@register_round("grow", "partitions are added (4 to 8, to 12), while events keep coming, with all workers stopped", 2)
def grow(testbed: Testbed, times: int) -> None:
    """Producers learn of the new partitions late: what they publish meanwhile is misrouted."""
    for _ in range(2):
        testbed.start_worker()
    testbed.wait_settled()
    for _ in range(times):
        testbed.pause(2.0, 5.0)
        grown(testbed, kills=0)


@register_round("grow-kill", "the same, and SIGKILL of the growth at random moments, until it is whole", 2)
def grow_kill(testbed: Testbed, times: int) -> None:
    """The command is killed at random moments of export, deletion and import, and begun again."""
    for _ in range(2):
        testbed.start_worker()
    testbed.wait_settled()
    for _ in range(times):
        testbed.pause(2.0, 5.0)
        grown(testbed, kills=6)
