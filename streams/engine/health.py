"""Whether a worker is ready, and its gauges."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

from prometheus_client import Counter

from streams.engine.table import StateTable
from streams.metrics.catalogue import Metrics

SHARE_S: Final = 60.0
"""What the share of refused events is of: so many seconds, or since the last look, if that was longer ago."""
SHARE_STEP_S: Final = 1.0


class RefusedShare:
    """The share of refused events among those of the last SHARE_S, from totals that only grow; looked at now and then.

    Nothing is done for an event, and no more than SHARE_S / SHARE_STEP_S looks are remembered.
    """

    def __init__(self, now_s: float) -> None:
        self._looks = deque([(now_s, 0.0, 0.0)])

    def look(self, now_s: float, read: float, refused: float) -> float:
        """The share, 0 to 1; 0 if nothing was read. ``read``: all events so far, ``refused``: those of them."""
        looks = self._looks
        while len(looks) > 1 and looks[1][0] <= now_s - SHARE_S:
            looks.popleft()
        _, read_before, refused_before = looks[0]
        if now_s - looks[-1][0] >= SHARE_STEP_S:
            looks.append((now_s, read, refused))
        return (refused - refused_before) / (read - read_before) if read > read_before else 0.0


class WorkerHealth:
    """Looks at the table when it is asked; keeps nothing but what the share of refused events needs."""

    def __init__(self, app: Any, table: StateTable, ready_lag_ms: int, metrics: Metrics) -> None:
        self._app = app
        self._table = table
        self._ready_lag_ms = ready_lag_ms
        self._metrics = metrics
        self._refused = RefusedShare(time.monotonic())

    def not_ready(self) -> str:
        """Why requests had better go elsewhere for now; "" if they need not."""
        if not self._app.started or not self._app.rebalancing_count:
            return "this worker has not joined the others yet"
        if self._app.rebalancing:
            return "partitions are being shared out"
        parts = list(self._table.owned.values())
        waiting = sum(not part.status.live for part in parts)
        if waiting:
            return f"{waiting} of {len(parts)} partitions are being restored"
        if not all(part.feed.is_fresh() for part in parts):
            return "nothing has been heard of Kafka lately"
        lag_ms = max((part.feed.lag_ms() for part in parts), default=0)
        if lag_ms > self._ready_lag_ms:
            return f"the counters are {lag_ms} ms behind"
        return ""

    def collect(self) -> None:
        """Bring the gauges up to date."""
        metrics, parts = self._metrics, list(self._table.owned.values())
        states = [part.status.state for part in parts if part.status.state is not None]
        users = [user for state in states for user in state.users.values()]
        metrics.reaped.set(sum(state.tally.reaped for state in states))
        metrics.orphaned.set(sum(state.tally.orphaned for state in states))
        metrics.live_calls.set(sum(sum(user.live.values()) for user in users))
        metrics.suspected_calls.set(sum(user.suspected for user in users))
        metrics.kept_calls.set(sum(len(user.calls) for user in users))
        live = sum(part.status.live for part in parts)
        metrics.partitions.labels("live").set(live)
        metrics.partitions.labels("restoring").set(len(parts) - live)
        metrics.lag_ms.set(max((part.feed.lag_ms() for part in parts), default=0))
        refused = _total(metrics.refused)
        read = _total(metrics.accepted) + refused + _total(metrics.misrouted)
        metrics.refused_ratio.set(self._refused.look(time.monotonic(), read, refused))


def _total(counter: Counter) -> float:
    """Over all labels."""
    return sum(row.value for metric in counter.collect() for row in metric.samples if row.name.endswith("_total"))
