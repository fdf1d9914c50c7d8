"""``WorkerContext``: what all owned partitions of a worker share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streams.basics.slices import TimeSlices
from streams.engine.feed import EventsSource
from streams.metrics.catalogue import Metrics
from streams.settings.narrow import PartitionSettings


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Made once by ``app.build`` and given to every owned partition.

    ``events``: the topic of events. ``fail``: ends the worker with an error; called for what must never happen.
    ``slices``: all long work of all partitions is done in these time slices, one partition at a time.
    ``restore_lock``: held while a state is built from restored entries. With it partitions become ready one after the
    other; without it they would share the processor and all become ready late.
    """

    settings: PartitionSettings
    metrics: Metrics
    events: EventsSource
    fail: Callable[[BaseException], Awaitable[None]]
    slices: TimeSlices
    restore_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
