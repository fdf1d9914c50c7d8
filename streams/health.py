"""Whether a worker is ready, and its gauges."""

from __future__ import annotations

from typing import Any

from streams.metrics import Metrics
from streams.settings import Settings
from streams.table import StateTable


class WorkerHealth:
    """Looks at the table when it is asked; keeps nothing."""

    def __init__(self, app: Any, table: StateTable, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._table = table
        self._settings = settings
        self._metrics = metrics

    def not_ready(self) -> str:
        """Why requests had better go elsewhere for now; "" if they need not."""
        if not self._app.started or not self._app.rebalancing_count:
            return "this worker has not joined the others yet"
        if self._app.rebalancing:
            return "partitions are being shared out"
        parts = list(self._table.parts.values())
        waiting = sum(not part.live for part in parts)
        if waiting:
            return f"{waiting} of {len(parts)} partitions are being restored"
        if not all(part.fresh() for part in parts):
            return "nothing has been heard of Kafka lately"
        lag_ms = max((part.lag_ms() for part in parts), default=0)
        if lag_ms > self._settings.ready_lag_ms:
            return f"the counters are {lag_ms} ms behind"
        return ""

    def collect(self) -> None:
        """Bring the gauges up to date."""
        metrics, parts = self._metrics, list(self._table.parts.values())
        states = [part.state for part in parts if part.state is not None]
        users = [user for state in states for user in state.users.values()]
        metrics.reaped.set(sum(state.tally.reaped for state in states))
        metrics.orphaned.set(sum(state.tally.orphaned for state in states))
        metrics.live_calls.set(sum(sum(user.live.values()) for user in users))
        metrics.suspected_calls.set(sum(user.suspected for user in users))
        metrics.kept_calls.set(sum(len(user.calls) for user in users))
        live = sum(part.live for part in parts)
        metrics.partitions.labels("live").set(live)
        metrics.partitions.labels("restoring").set(len(parts) - live)
        metrics.lag_ms.set(max((part.lag_ms() for part in parts), default=0))
