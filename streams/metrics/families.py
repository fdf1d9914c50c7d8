"""Metrics of kinds that ``prometheus_client`` has not: gauges by partition, and the smallest of the last minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SMALLEST_S: Final = 60.0
"""``SmallestGauge`` forgets a value after one to two of these periods."""


class PartitionGauge(Collector):
    """A gauge with the label ``partition``: it has the partitions that the last ``show`` gave it, and no others.

    So the series of a partition that the worker has given up vanish. A gauge with labels of ``prometheus_client`` would
    keep its last value, and setting 256 of them takes longer.
    """

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._values: Mapping[int, float] = {}
        registry.register(self)

    def show(self, values: Mapping[int, float]) -> None:
        """Replace all values: partition -> value."""
        self._values = values

    def collect(self) -> Iterable[Metric]:
        """The gauge as it is now; called for each look at the metrics."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=["partition"])
        for partition, value in self._values.items():
            family.add_metric([str(partition)], value)
        return [family]


class SmallestGauge(Collector):
    """A gauge of the smallest value noted within the last SMALLEST_S, or up to twice that; NaN if none was.

    ``clock``: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._clock = clock
        self._began_s = clock()
        self._before = self._now = math.inf
        registry.register(self)

    def note(self, value: float) -> None:
        """Note a value."""
        self._forget_old()
        self._now = min(self._now, value)

    def value(self) -> float:
        """The smallest value; NaN if there is none."""
        self._forget_old()
        smallest = min(self._before, self._now)
        return math.nan if smallest == math.inf else smallest

    def collect(self) -> Iterable[Metric]:
        """The gauge as it is now; called for each look at the metrics."""
        return [GaugeMetricFamily(self._name, self._documentation, value=self.value())]

    def _forget_old(self) -> None:
        """Begin a new period if the one of now is over. What is older than the period before is forgotten."""
        now_s = self._clock()
        periods = (now_s - self._began_s) // SMALLEST_S
        if periods >= 1:
            self._before = self._now if periods == 1 else math.inf
            self._now, self._began_s = math.inf, self._began_s + periods * SMALLEST_S
