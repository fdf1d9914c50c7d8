"""How long a worker of many partitions takes until it is ready, by the clock and in processor time."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.measure import MIB, cpu_s, rss_bytes
from tests.bench.report import Table, say
from tests.bench.testbed import Testbed
from tests.support.workers import Worker

PARTITIONS: Final = 256
STARTS: Final = 3
SESSION_TIMEOUT_S: Final = 6
NOTES: Final = (
    "until /readyz says 200 and that nothing is late: all partitions are restored, and read; no event was published, "
    "so each changelog holds a position alone",
    "after a kill Kafka gives the partitions away when the session of the dead worker is over: that is up to "
    f"{SESSION_TIMEOUT_S} s of the time",
    "RSS (VmRSS) then",
)


def starts(testbed: Testbed) -> Table:
    """The table of starts: of new topics, after kills, and after orderly ends."""
    deployment = testbed.deployment(PARTITIONS).with_settings(SESSION_TIMEOUT_S=SESSION_TIMEOUT_S)
    testbed.make_topics(deployment)
    table = Table(
        f"start with {PARTITIONS} partitions, {testbed.title}",
        ("", "s until ready", "CPU s until ready", "RSS MiB"),
        notes=list(NOTES),
    )
    for at in range(STARTS):
        before = "with new topics" if at == 0 else "after an end in order"
        for kind in (before, "after a kill"):
            say(f"a start {kind}")
            with testbed.worker(deployment) as worker:
                table.add(kind, *_start(worker))
                if kind == "after a kill":
                    worker.end()
    return table


def _start(worker: Worker) -> tuple[float, float, float]:
    """Wait until a new worker is ready. Returns the seconds, those of the processor, and MiB."""
    began = time.monotonic()
    worker.wait_ready()
    pid = worker.process.pid
    return time.monotonic() - began, cpu_s(pid), rss_bytes(pid) / MIB
