"""``exposition``: all metrics of a registry in Prometheus' text format, made in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

SERIES_PER_STEP: Final = 50
"""So many series are written before other tasks run: in well below 1 ms."""


async def exposition(registry: CollectorRegistry) -> bytes:
    """All metrics in Prometheus' text format. Other tasks run after each SERIES_PER_STEP of a metric.

    A worker with 256 partitions has thousands of series: to write all of them in one step would keep requests waiting
    for tens of ms.
    """
    texts: list[bytes] = []
    for metric in registry.collect():
        for text in _steps(metric):
            texts.append(text)
            await asyncio.sleep(0)
    return b"".join(texts)


def _steps(metric: Metric) -> Iterator[bytes]:
    """The text of a metric, in parts of SERIES_PER_STEP series. The first has the lines that tell what it is."""
    samples = metric.samples
    metric.samples = samples[:SERIES_PER_STEP]
    yield generate_latest(_Alone(metric))
    for begin in range(SERIES_PER_STEP, len(samples), SERIES_PER_STEP):
        metric.samples = samples[begin : begin + SERIES_PER_STEP]
        lines = generate_latest(_Alone(metric)).split(b"\n")  # ``splitlines`` would also end one at a \r in a label
        yield b"".join(line + b"\n" for line in lines if line and not line.startswith(b"# "))


class _Alone(Collector):
    """A registry of one metric that was collected already."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]
