"""The names of a worker's series, and names in a text that look like one and are none."""

from __future__ import annotations

import re
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from streams.metrics.catalogue import Metrics

_ENDINGS: Final = {
    "counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",), "gauge": ("",),
}  # fmt: skip
"""Type of a metric -> what its series' names end with."""
_NAME: Final = re.compile(r"\b(?:ecounters|process|python)_[a-z_]+\b")


def series_names() -> set[str]:
    """The names of all series that a worker has."""
    registry = CollectorRegistry()
    Metrics.create(registry)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return {metric.name + ending for metric in registry.collect() for ending in _ENDINGS[metric.type]}


def unknown_metrics(text: str) -> set[str]:
    """Names that look like series of a worker and are none."""
    return set(_NAME.findall(text)) - series_names()
