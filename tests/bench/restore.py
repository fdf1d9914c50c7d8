"""The time that a worker takes to restore its state, to be ready, and to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from aiokafka import TopicPartition

from ecounters.changelog.entries import Entry
from ecounters.errors import Stop
from streams.basics.slices import TimeSlices
from streams.kafka.changelog_reader import read_changelog
from streams.kafka.changelog_writer import ChangelogTakeover
from streams.kafka.clients import Kafka
from streams.kafka.shared_clients import SharedClients
from tests.bench.measure import restored
from tests.bench.report import Table, median, say
from tests.bench.testbed import PARTITIONS, Testbed, app_id, outcome
from tests.support.workers import Deployment

STARTS: Final = 3
WRITE_STEP: Final = 50_000
"""Entries in one transaction."""

NOTES: Final = (
    "as written: the changelog that the last job left, with the writes of all flushes; compacted: its last entry of "
    "each key alone, in a changelog of its own",
    "each row: the median of so many new worker processes, ended in order when they are ready",
    "entries: of the changelog, all partitions, as the log's lines `partition N restored` say; keys: those that are "
    "there at the end",
    "restore: from the log's line `generation N` (partitions given) to the last partition's; first: to the first "
    "partition's, which answers from then on",
    "CPU µs: for each entry, of a process that does nothing else: reading, and making the state of what was read; "
    "what others do on the machine matters less for it",
    "ready: from the start of the process until /readyz says so (asked every 50 ms)",
    "stop: from SIGTERM until the process has ended, with exit code 0",
)
COLUMNS: Final = (
    "", "entries", "keys", "restore s", "first s", "entries/s", "CPU µs", "reading", "making", "ready s", "stop s",
)  # fmt: skip


def restore(testbed: Testbed, deployment: Deployment) -> Table:
    """Measure workers on a changelog as it was written, and on the same one compacted."""
    table = Table(f"restore, {testbed.title}: {PARTITIONS} partitions", COLUMNS, notes=list(NOTES))
    table.add("as written", *_measured(testbed, deployment))
    compacted = testbed.with_new_group(deployment)
    for partition in range(PARTITIONS):
        asyncio.run(_compact(testbed.broker, deployment, compacted, partition))
    table.add("compacted", *_measured(testbed, compacted))
    return table


def _measured(testbed: Testbed, deployment: Deployment) -> list[float]:
    """The row of one changelog: medians over STARTS workers."""
    rows = []
    for at in range(1, STARTS + 1):
        with testbed.helper(
            "tests.bench.restore_reader", testbed.broker, _changelog(deployment), str(PARTITIONS)
        ) as helper:
            read = outcome(helper)
        began = time.monotonic()
        with testbed.worker(deployment) as worker:
            worker.wait_ready()
            ready = time.monotonic() - began
            stop = worker.end()
            restore_log = restored(worker.log)
        if restore_log is None or restore_log.partitions != PARTITIONS:
            raise Stop(f"not all partitions were restored by one worker: {worker.log_tail()}")
        entries, took, first = (
            restore_log.entries,
            restore_log.last - restore_log.shared_out,
            restore_log.first - restore_log.shared_out,
        )
        reading, making = (read[name] / entries * 1e6 for name in ("read_s", "made_s"))
        rows.append((took, first, entries / took, reading + making, reading, making, ready, stop))
        say(f"start {at} of {STARTS}: {entries:,} entries in {took:.2f} s, ready after {ready:.2f} s")
    return [entries, read["keys"], *(median(values) for values in zip(*rows, strict=True))]


async def _compact(broker: str, source: Deployment, target: Deployment, partition: int) -> None:
    """Write the last entry of each key to another changelog; the position comes last, as in every flush."""
    last: dict[bytes, bytes | None] = {}
    async for entries in read_changelog(
        Kafka(broker), TopicPartition(_changelog(source), partition), TimeSlices(1_000)
    ):
        for key, value in entries:
            last.pop(key, None)
            last[key] = value
    kept: Iterator[Entry] = ((key, value) for key, value in last.items() if value is not None)
    changelog, dlq = (TopicPartition(topic, partition) for topic in (_changelog(target), f"{target.name}.dlq"))
    clients = SharedClients(Kafka(broker))
    takeover = ChangelogTakeover(clients, f"{app_id(target)}-state-{partition}", changelog, dlq)
    writer = await takeover.open()
    try:
        more = True
        while more:
            outbox = writer.outbox()
            more = outbox.add_entries(kept, WRITE_STEP)
            await writer.write(outbox)
    finally:
        await takeover.close()
        await clients.close()


def _changelog(deployment: Deployment) -> str:
    return f"{app_id(deployment)}-state-changelog"
