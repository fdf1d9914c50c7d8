"""PartitionGauge and SmallestGauge: what a look at the metrics sees."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, generate_latest

from streams.metrics.families import SMALLEST_S, PartitionGauge, SmallestGauge


def series(registry: CollectorRegistry) -> list[str]:
    """The lines of all series."""
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_partition_that_is_given_up_has_no_series() -> None:
    """The gauge has what was shown last, and nothing else."""
    registry = CollectorRegistry()
    gauge = PartitionGauge("lag", "", registry)
    assert series(registry) == []
    gauge.show({1: 5, 2: 0})
    assert series(registry) == ['lag{partition="1"} 5.0', 'lag{partition="2"} 0.0']
    gauge.show({2: 7})
    assert series(registry) == ['lag{partition="2"} 7.0']


def test_the_smallest_value_is_that_of_the_last_minutes() -> None:
    """It is forgotten after one to two periods; then there is none."""
    now = 1_000.0
    gauge = SmallestGauge("difference", "", CollectorRegistry(), lambda: now)
    assert math.isnan(gauge.value())
    gauge.note(0.5)
    gauge.note(-2.0)
    gauge.note(1.0)
    assert gauge.value() == -2.0
    now += SMALLEST_S
    gauge.note(3.0)
    assert gauge.value() == -2.0
    now += SMALLEST_S
    assert gauge.value() == 3.0
    gauge.note(4.0)
    now += 2 * SMALLEST_S
    assert math.isnan(gauge.value())
