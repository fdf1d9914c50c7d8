"""The metrics as Prometheus wants them, and how long it takes to write them for 256 partitions."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, generate_latest

from ecounters.errors import REASONS
from streams.metrics.catalogue import FLUSH_FAILURES, Metrics
from streams.metrics.exposition import exposition
from streams.metrics.loop_pauses import LoopPauses

PARTITIONS = 256
STEP_S_MAX = 0.005
TIMES = 5


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


def test_writing_256_partitions_takes_no_step_of_5_ms() -> None:
    """All is written, and other tasks run in between. The shortest of five longest steps counts."""
    pauses, registry = LoopPauses(), filled()

    async def run() -> float:
        steps = []
        for _ in range(TIMES):
            await asyncio.sleep(0)
            pauses.take()
            await exposition(registry)
            await asyncio.sleep(0)
            steps.append(pauses.take())
        assert await exposition(registry) == generate_latest(registry)
        return min(steps)

    with asyncio.Runner(loop_factory=pauses.new_loop) as runner:
        assert runner.run(run()) < STEP_S_MAX
