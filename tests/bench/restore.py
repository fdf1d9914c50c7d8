"""Restore: how long a worker takes to have its state back, to be ready, and to end."""

from __future__ import annotations

import time
from typing import Final

from ecounters.errors import Stop
from tests.bench.measure import restored
from tests.bench.report import Table, median, say
from tests.bench.stage import PARTITIONS, Stage
from tests.support.workers import Place

STARTS: Final = 3

NOTES: Final = (
    "each row: a new worker process on the changelog that the last job left, ended in order when it is ready",
    "entries: of the changelog, all partitions, as the log's lines `partition N restored` say; not compacted, so these "
    "are the writes of all flushes, not the keys",
    "restore: from the log's line `generation N` (partitions given) to the last partition's; longest: of one "
    "partition, as it says itself",
    "ready: from the start of the process until /readyz says so (asked every 50 ms)",
    "stop: from SIGTERM until the process has ended, with exit code 0",
)


def restore(stage: Stage, place: Place) -> Table:
    """Start and end workers on a changelog."""
    rows = []
    for at in range(1, STARTS + 1):
        began = time.monotonic()
        with stage.worker(place) as worker:
            worker.wait_ready()
            ready = time.monotonic() - began
            stop = worker.end()
            told = restored(worker.log)
        if told is None or told.partitions != PARTITIONS:
            raise Stop(f"not all partitions were restored by one worker: {worker.last_words()}")
        took = told.last - told.shared_out
        rows.append((told.entries, took, told.longest_s, told.entries / took, ready, stop))
        say(f"start {at} of {STARTS}: {told.entries:,} entries in {took:.2f} s, ready after {ready:.2f} s")
    table = Table(
        f"restore, {stage.title}: {PARTITIONS} partitions",
        ("", "entries", "restore s", "longest s", "entries/s", "start to ready s", "stop s"),
        notes=list(NOTES),
    )
    for at, row in enumerate(rows, 1):
        table.add(f"start {at}", *row)
    table.add("median", rows[0][0], *(median(values) for values in list(zip(*rows, strict=True))[1:]))
    return table
