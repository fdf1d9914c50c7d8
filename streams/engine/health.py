"""The health of a worker: whether it is ready for requests, its gauges, and the share of refused events over time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from prometheus_client import Counter

from streams.engine.accounts import USERS_STEP, AccountLooks
from streams.engine.partition import OwnedPartition
from streams.engine.status import Waiting
from streams.engine.table import StateTable
from streams.engine.topics_watch import TopicsWatch
from streams.metrics.catalogue import Metrics
from streams.metrics.families import PartitionGauge

SHARE_S: Final = 60.0
"""The share of refused events is measured since the newest sample that is at least so old, or since the start."""
SHARE_STEP_S: Final = 1.0
"""A sample is kept only if it is at least so much newer than the last one kept."""
ACCOUNTS_AT_ONCE: Final = 10_000
"""The calls of up to so many accounts are counted anew for each look at the metrics."""
PAUSE_OF_COUNTS: Final = 50
PAUSE_MAX_S: Final = 60.0
"""The calls of more accounts are counted anew only after a pause: so many times as long as counting them took, and a
minute at most. 100,000 accounts take some 0.1 s, and somebody may look each second. A rebalance ends the pause."""


class RefusedShare:
    """Measures the share of refused events among all events read in about the last SHARE_S.

    The share is computed from two counters that only grow. They are sampled whenever the metrics are collected:

        samples kept:  |-----|-----|-----|-----| now        share = refused since the oldest / read since the oldest
                       now - SHARE_S, or before

    If the metrics are collected less often than every SHARE_S, the share is that of the time since the collection
    before. About SHARE_S / SHARE_STEP_S samples are kept at most. Events themselves cost nothing here.
    """

    def __init__(self, now_s: float) -> None:
        self._samples = deque([(now_s, 0.0, 0.0)])

    def look(self, now_s: float, read: float, refused: float) -> float:
        """Take a sample at ``now_s`` (monotonic seconds) and return the share, 0 to 1; 0 if nothing was read.

        ``read``: all events read since the worker's start, ``refused``: those of them that were refused.
        """
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= now_s - SHARE_S:
            samples.popleft()
        _, read_before, refused_before = samples[0]
        if now_s - samples[-1][0] >= SHARE_STEP_S:
            samples.append((now_s, read, refused))
        return (refused - refused_before) / (read - read_before) if read > read_before else 0.0


class WorkerHealth:
    """Says for /readyz whether the worker can answer, and updates gauges for /metrics, by the state of its partitions.

    ``joined``: whether the worker knows the group. ``accounts``: their metrics. Its data of its own: the samples of
    ``RefusedShare``, to which ``collect`` adds; when calls are counted again, and of which states they were counted;
    whether the worker has been ready; and whether it is being stopped.
    """

    def __init__(
        self,
        app: Any,
        table: StateTable,
        topics: TopicsWatch,
        ready_lag_ms: int,
        metrics: Metrics,
        joined: Callable[[], bool],
        accounts: AccountLooks,
    ) -> None:
        self._app = app
        self._topics = topics
        self._table = table
        self._ready_lag_ms = ready_lag_ms
        self._metrics = metrics
        self._joined = joined
        self.accounts = accounts
        self._refused = RefusedShare(time.monotonic())
        self._count_again_s = 0.0  # monotonic
        self._counted: list[tuple[int, int]] = []  # (partition, id of its state) of those whose calls were counted
        self._was_ready = False
        self.stopping = False

    def stop(self) -> None:
        """Note that the worker is being stopped: it is not ready from now on, though it still answers."""
        self.stopping = True

    def not_ready(self) -> str:
        """Why a load balancer should send requests to other workers for now, as one line; "" if this one is ready.

        Ready means that it can answer, not that it is up to date. While Kafka is away, in a rebalance, and far behind
        the log's end it is ready: all workers would be in the same state, and replies go on and say so. Once it has
        been ready, partitions that it gets from a dead worker change nothing: until they are restored no worker can
        answer for them, and this one answers for all others.

        A partition that waits for an operator changes nothing either: it would wait on any worker.
        """
        if self.stopping:
            return "this worker is being stopped"
        if not self._joined():
            return "this worker has not joined the others yet"
        if not self._was_ready:
            silent = [partition for partition in self._restoring() if partition.status.state is None]
            if silent:
                return f"{len(silent)} of {len(self._table.owned)} partitions are being restored"
            self._was_ready = True
        return ""

    def delays(self) -> dict[str, Any]:
        """What keeps the counters from being up to date, for the body of /readyz; empty if nothing does.

        ``rebalancing``: partitions are being shared out. ``restoring``: so many partitions are being restored.
        ``silent``: nothing has been heard of Kafka lately. ``lag_ms``: the largest lag, above ECOUNTERS_READY_LAG_MS.
        """
        found: dict[str, Any] = {}
        restoring = self._restoring()
        live = [partition for partition in self._table.owned.values() if partition.status.live]
        feeds = [partition.feed for partition in live if partition.status.waiting is None]
        if self._app.rebalancing:
            found["rebalancing"] = True
        if restoring:
            found["restoring"] = len(restoring)
        if not all(feed.is_fresh() for feed in feeds):
            found["silent"] = True
        lag_ms = max((feed.lag_ms() for feed in feeds), default=0)
        if lag_ms > self._ready_lag_ms:
            found["lag_ms"] = lag_ms
        return found

    def _restoring(self) -> list[OwnedPartition]:
        """The partitions that are not live, without those that wait for an operator."""
        partitions = self._table.owned.values()
        return [partition for partition in partitions if not partition.status.live and not partition.status.waiting]

    def waiting(self) -> list[str]:
        """What this worker, or partitions of it, wait for an operator for, one line each: the topics first."""
        change = [] if self._topics.change is None else [self._topics.change.detail]
        return list(dict.fromkeys([*change, *(reason.detail for reason in self._reasons())]))

    def _reasons(self) -> list[Waiting]:
        """Why partitions wait, for each of those that do."""
        reasons = [partition.status.waiting for partition in self._table.owned.values()]
        return [reason for reason in reasons if reason is not None]

    async def collect(self) -> None:
        """Update all gauges but those of listeners and pauses. Other tasks run meanwhile."""
        metrics, partitions = self._metrics, list(self._table.owned.values())
        states = [partition.status.state for partition in partitions if partition.status.state is not None]
        metrics.reaped.set(sum(state.tally.reaped for state in states))
        metrics.holes.set(sum(len(state.holes) for state in states))
        metrics.orphaned.set(sum(state.tally.orphaned for state in states))
        await self._count_calls(partitions)
        live_partitions = sum(partition.status.live and not partition.status.waiting for partition in partitions)
        metrics.kept_letters.set(sum(partition.status.kept_letters for partition in partitions))
        metrics.partitions.labels("live").set(live_partitions)
        waiting = len(self._reasons())
        metrics.partitions.labels("waiting").set(waiting)
        metrics.partitions.labels("restoring").set(len(partitions) - live_partitions - waiting)
        await self._show_partitions()
        await self.accounts.collect()
        standbys, lag = self._table.standbys, self._table.standbys.lag()
        metrics.standbys.partitions.labels("whole").set(whole := len(standbys.whole()))
        metrics.standbys.partitions.labels("reading").set(standbys.wanted - whole)
        metrics.standbys.lag.set(max(lag.values(), default=0))
        refused = _total(metrics.refused)
        read = _total(metrics.accepted) + refused + _total(metrics.misrouted)
        metrics.refused_ratio.set(self._refused.look(time.monotonic(), read, refused))

    async def _count_calls(self, partitions: Sequence[OwnedPartition]) -> None:
        """Update the gauges of calls, if that is due. Other tasks run after each USERS_STEP accounts."""
        states = [(partition.status.partition, id(partition.status.state)) for partition in partitions]
        began, used_s = time.monotonic(), 0.0
        if began < self._count_again_s and states == self._counted:
            return
        live = suspected = kept = number = 0
        for partition in partitions:
            state = partition.status.state  # of now: that of before a pause may be empty
            for user in chain.from_iterable(state.users.values_by_table()) if state is not None else ():
                live += sum(user.live.values())
                suspected += user.suspected
                kept += len(user.calls)
                number += 1
                if number % USERS_STEP == 0:
                    used_s += time.monotonic() - began
                    await asyncio.sleep(0)
                    began = time.monotonic()
        self._metrics.live_calls.set(live)
        self._metrics.suspected_calls.set(suspected)
        self._metrics.kept_calls.set(kept)
        used_s += time.monotonic() - began
        pause_s = min(used_s * PAUSE_OF_COUNTS, PAUSE_MAX_S) if number > ACCOUNTS_AT_ONCE else 0.0
        self._count_again_s, self._counted = time.monotonic() + pause_s, states

    async def _show_partitions(self) -> None:
        """Update the gauges by partition: those that this worker has now, and no others. Other tasks run after each
        gauge: a worker may have hundreds of partitions.
        """
        gauges = self._metrics.by_partition
        shown: tuple[tuple[PartitionGauge, Callable[[OwnedPartition], float]], ...] = (
            (gauges.lag_events, lambda one: one.feed.lag_events()),
            (gauges.lag, lambda one: one.feed.lag_ms() / 1000),
            (gauges.newest_event, lambda one: 0 if (state := one.status.state) is None else state.arrival / 1000),
            (gauges.restored, lambda one: one.restored_ratio),
            (gauges.changelog_entries, lambda one: one.status.entries),
            (gauges.commit_age, lambda one: one.commit_age_s),
        )
        for gauge, value in shown:
            await asyncio.sleep(0)
            gauge.show({number: value(one) for number, one in self._table.owned.items()})


def _total(counter: Counter) -> float:
    """The sum of a counter's values over all its labels."""
    return sum(row.value for metric in counter.collect() for row in metric.samples if row.name.endswith("_total"))
