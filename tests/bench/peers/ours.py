"""This project as an engine: a worker of the install that an interpreter belongs to, compiled or pure."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from ecounters.errors import Stop
from tests.bench.latency import RATE
from tests.bench.measure import (
    Counted,
    cpu_s,
    ends_of,
    until_accepted,
    until_committed,
    until_counted,
    until_first_restored,
)
from tests.bench.peers.compare import USERS, Values, of_answer
from tests.bench.peers.counting import WINDOW_MS
from tests.bench.peers.engine import HOME, Running, Site, peak_bytes
from tests.support.accounts import TOKEN
from tests.support.log_publisher import yesterday_ms
from tests.support.workers import Worker

PYTHONS: Final = "ECOUNTERS_BENCH_PYTHONS"
"""Interpreters of installs that are compared, as PATH:PATH; by default the one that runs the bench, and PURE."""
PURE: Final = HOME / "pure" / "bin" / "python"
"""An install that `make bench-peers` did not compile."""
WINDOWS: Final = 8
"""So many windows after midnight are asked for: the log ends within them."""


def installs() -> list[Ours]:
    """The rows of this project: one for each way in which an install says that it was built."""
    given = os.environ.get(PYTHONS)
    pythons = map(Path, given.split(":")) if given else (Path(sys.executable), PURE)
    found = {f"Ecounters{_build(python)}": python for python in reversed([one for one in pythons if one.exists()])}
    return [Ours(title, found[title]) for title in sorted(found)]


def _build(python: Path) -> str:
    """ ", compiled" or ", pure", as `ecounters --version` says; "" if it does not say."""
    said = subprocess.run([python.with_name("ecounters"), "--version"], capture_output=True, text=True, check=True)
    return next((f", {build}" for build in ("compiled", "pure") if build in said.stdout.lower()), "")


class Ours:
    """An install of this project, as an ``Engine``."""

    readable: Final = "http"
    share: Final = 3.0
    kill_rate: Final = RATE
    why_not: Final = ""

    def __init__(self, title: str, python: Path) -> None:
        self.title = title
        self.key = title.lower().replace(", ", "-")
        self._program = python.with_name("ecounters")

    def start(self, site: Site) -> Running:
        """Start a worker."""
        return StartedWorker(site, Worker(site.deployment, port=site.job.port, program=self._program))


class StartedWorker:
    """A worker, as a ``Running``."""

    def __init__(self, site: Site, worker: Worker) -> None:
        self._site = site
        self._worker = worker
        self.process = worker.process

    def wait_began(self, limit_s: float) -> Counted:
        """How far it was behind the warm-up. Without one, when its first partition was restored: it reads then."""
        restored, job = until_first_restored(self._worker), self._site.job
        if job.warm_up:
            return until_counted(job.warm_up, job.events, self._worker)
        return Counted(restored.first, 0, self.cpu_s())

    def wait_ended(self, limit_s: float) -> float:
        """When it had accepted the last event; after a kill, when all offsets were committed."""
        job = self._site.job
        if job.events:
            return until_accepted(job.events, self._worker)
        ends = asyncio.run(ends_of(job.broker, job.topic, job.partitions))
        return asyncio.run(until_committed(job.broker, job.group, job.topic, ends))

    def values(self) -> Values:
        """Its counters, asked for by user and window."""
        values: Values = {}
        for user in (f"u{at + 1}" for at in range(USERS)):
            for window in range(yesterday_ms(), yesterday_ms() + WINDOWS * WINDOW_MS, WINDOW_MS):
                dates = [{"field": "date", "op": "between", "value": [window, window + WINDOW_MS]}]
                reply = self._worker.ask({"userId": user, "token": TOKEN, "filter": dates})
                if reply.status != 200:
                    raise Stop(f"HTTP {reply.status}: {reply.body[:300]!r}")
                values |= of_answer(user, window, reply.json["message"])
        return values

    def cpu_s(self) -> float:
        """User and system time so far."""
        return cpu_s(self.process.pid)

    def peak_bytes(self) -> int:
        """The most memory that it had in RAM."""
        return peak_bytes(self.process.pid)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._worker.kill()
