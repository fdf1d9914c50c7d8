"""Which partitions workers follow as standbys."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final

from tests.support.workers import Worker

LIMIT_S: Final = 60.0
LAG_MAX: Final = 300
"""Entries that a standby may not have read yet while events flow."""


def followed_by(worker: Worker) -> float:
    """How many partitions a worker follows, and could answer for."""
    text = worker.request("GET", "/metrics").body.decode()
    found = re.search(r'^ecounters_standby_partitions\{status="whole"\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_followed(workers: Sequence[Worker], partitions: int, limit_s: float = LIMIT_S) -> None:
    """Wait until so many partitions are followed, almost to their ends. AssertionError after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while True:
        followed = sum(followed_by(worker) for worker in workers)
        lag = sum(worker.metric("ecounters_standby_lag_entries") for worker in workers)
        if followed == partitions and lag <= LAG_MAX:
            return
        assert time.monotonic() < deadline, (followed, lag, [worker.log_tail() for worker in workers])
        time.sleep(0.1)
