"""The metrics as Prometheus wants them, and in which steps those of 256 partitions are written."""

from __future__ import annotations

import asyncio
import math

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ecounters.errors import REASONS
from streams.metrics.catalogue import FLUSH_FAILURES, Metrics
from streams.metrics.exposition import SERIES_PER_STEP, exposition

PARTITIONS = 256


def filled() -> CollectorRegistry:
    """A registry with the metrics of a worker of 256 partitions."""
    registry = CollectorRegistry()
    metrics = Metrics.create(registry, "w1")
    for gauge in metrics.by_partition:
        gauge.show({partition: partition / 7 for partition in range(PARTITIONS)})
    return registry


def test_no_counter_says_when_it_was_made() -> None:
    """Such series would double their number, and nothing uses them."""
    text = generate_latest(filled()).decode()
    assert "ecounters_events_accepted_total" in text
    assert "_created" not in text


def test_series_of_known_reasons_are_0_from_the_start() -> None:
    """A series that begins with 1 has no rise for ``rate``: the first refused event would raise no alert."""
    text = generate_latest(filled()).decode()
    rows = [f'ecounters_events_refused_total{{reason="{reason}"}} 0.0' for reason in REASONS]
    rows += [f'ecounters_flush_failures_total{{reason="{reason}"}} 0.0' for reason in FLUSH_FAILURES]
    assert [row for row in rows if row not in text.splitlines()] == []


def test_256_partitions_are_written_in_short_steps() -> None:
    """Other tasks run after each SERIES_PER_STEP series of each metric, and all is written."""
    registry = filled()
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def run() -> bytes:
        async with asyncio.TaskGroup() as group:
            others = group.create_task(take_turns())
            text = await exposition(registry)
            others.cancel()
        return text

    assert asyncio.run(run()) == generate_latest(registry)
    series = [len(metric.samples) for metric in registry.collect()]
    steps = sum(math.ceil(count / SERIES_PER_STEP) for count in series)
    assert turns >= steps > len(series)


def test_labels_from_events_do_not_end_a_line() -> None:
    """A DID may have a carriage return, with what looks like a comment behind it."""
    registry = CollectorRegistry()
    gauge = Gauge("live", "Live calls", ["did"], registry=registry)
    for at in range(3 * SERIES_PER_STEP):
        gauge.labels(f"{at}\r# x\x0b\x85\n# y").set(at)
    assert asyncio.run(exposition(registry)) == generate_latest(registry)
