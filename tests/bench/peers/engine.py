"""An engine of the comparison, and its process: marks, processor time, memory, and where its counters are read."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from redis import Redis

from ecounters.errors import Stop
from tests.bench.latency import RATE
from tests.bench.measure import Counted, cpu_s
from tests.bench.peers.compare import Values, of_cells
from tests.bench.peers.job import BEGAN, END, ENDED, RESULTS, VARIABLE, Job
from tests.support.kafka_jars import java
from tests.support.workers import ROOT, Deployment

POLL_S: Final = 0.005
LOG_TAIL: Final = 3_000
END_LIMIT_S: Final = 30.0
RESULTS_LIMIT_S: Final = 120.0
"""A transaction that a killed process leaves open holds results back until its timeout, 60 s by default."""
HOME: Final = ROOT / "build" / "peers"
"""What `make bench-peers` installs and builds."""


@dataclass(frozen=True)
class Engine:
    """An engine as a row of the table.

    key        its name as an option
    title      its name in the table
    command    how its process starts
    readable   where its counters can be read while it runs: "http", "redis", "topic", or "" if nowhere
    guarantee  for the job
    share      of the log that it counts in the throughput; less than 1 for an engine that would take minutes, more
               for one that would count it between two flushes, or in less than a second
    kill_rate  events a second that are published while it is killed: fewer than it can count
    why_not    why latency and kill are not measured; "" if they are
    setting    more of the environment
    """

    key: str
    title: str
    command: Callable[[Job], list[str]]
    readable: str = "http"
    guarantee: str = "at_least_once"
    share: float = 1.0
    kill_rate: int = RATE
    why_not: str = ""
    setting: Mapping[str, str] = field(default_factory=dict)

    def start(self, site: Site) -> Running:
        """Start its process."""
        return Started(self, site.job, site.log)


class Site(NamedTuple):
    """Where an engine works once. ``deployment``: of the topic; a worker of this project has its settings from it."""

    deployment: Deployment
    job: Job
    log: Path


class Running(Protocol):
    """What the measurements need of an engine's process."""

    process: subprocess.Popen[bytes]

    def wait_began(self, limit_s: float) -> Counted:
        """Wait until it has got the events of the warm-up; returns how far it was then."""

    def wait_ended(self, limit_s: float) -> float:
        """Wait until it has counted the last event; returns when, as time.time()."""

    def values(self) -> Values:
        """Its counters, after the last event."""

    def cpu_s(self) -> float:
        """User and system time of all its processes so far."""

    def peak_bytes(self) -> int:
        """The sum of the most memory that each of its processes had in RAM."""

    def kill(self) -> None:
        """End all its processes by SIGKILL."""


class Started:
    """The process of an engine, in a session of its own with all that it starts."""

    def __init__(self, engine: Engine, job: Job, log: Path) -> None:
        self.engine = engine
        self.job = job
        self.log = log
        command = engine.command(job)
        if not Path(command[0]).exists():
            raise Stop(f"it is not installed: `make bench-peers` said why ({command[0]} is missing)")
        for mark in (BEGAN, ENDED, RESULTS):
            (Path(job.folder) / mark).unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: json.dumps(job._asdict()), **engine.setting}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=job.folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    # ------------------------------------------------------------------------------------------ its marks

    def wait_began(self, limit_s: float) -> Counted:
        """How far it was when it had got the events of the warm-up."""
        return Counted(float(self._wait(BEGAN, limit_s)), self.job.warm_up, self.cpu_s())

    def wait_ended(self, limit_s: float) -> float:
        """When it had counted the last event, as time.time()."""
        return float(self._wait(ENDED, limit_s))

    def _wait(self, mark: str, limit_s: float) -> str:
        path, deadline = Path(self.job.folder) / mark, time.monotonic() + limit_s
        while not path.exists():
            if self.process.poll() is not None:
                raise Stop(f"{self.engine.title} ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise Stop(f"{self.engine.title} has not {mark} after {limit_s:g} s:\n{self.log_tail()}")
            time.sleep(POLL_S)
        return path.read_text()

    def log_tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:]

    # ------------------------------------------------------------------------------------------ its counters

    def values(self) -> Values:
        """Its counters, after its end mark."""
        if self.engine.readable == "redis":
            return of_cells(redis_cells(self.job.redis))
        if self.engine.readable == "topic":
            return of_cells(asyncio.run(topic_cells(self.job)))
        return of_cells(json.loads(self._wait(RESULTS, END_LIMIT_S)))

    # ------------------------------------------------------------------------------------------ its cost

    def cpu_s(self) -> float:
        """User and system time of all its processes so far."""
        return sum(map(cpu_s, self._pids()))

    def peak_bytes(self) -> int:
        """The sum of the most memory that each of its processes had in RAM."""
        return sum(map(peak_bytes, self._pids()))

    def _pids(self) -> list[int]:
        own = session_pids(self.process.pid)
        return [*own, redis_pid(self.job.redis)] if self.engine.readable == "redis" else own

    def kill(self) -> None:
        """End all its processes by SIGKILL."""
        for pid in session_pids(self.process.pid):
            with suppress(ProcessLookupError):  # its end came with that of its parent
                os.kill(pid, signal.SIGKILL)
        self.process.wait(END_LIMIT_S)


def session_pids(session: int) -> list[int]:
    """The processes of a session that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def peak_bytes(pid: int) -> int:
    """The most memory that a process had in RAM (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise Stop(f"process {pid} has ended")


def redis_pid(url: str) -> int:
    """The process of a Redis on this machine."""
    with Redis.from_url(url) as redis:
        info: Any = redis.info("server")
        return int(info["process_id"])


def redis_cells(url: str) -> dict[str, dict[str, int]]:
    """The cells in a Redis: a hash for each, "cell:user|window"."""
    with Redis.from_url(url, decode_responses=True) as redis:
        cells = {}
        for key in redis.scan_iter("cell:*", 1_000):
            counters: Any = redis.hgetall(key)
            cells[key.removeprefix("cell:")] = {name: int(n) for name, n in counters.items()}
        return cells


async def topic_cells(job: Job) -> dict[str, dict[str, int]]:
    """The cells in the topic of an engine that publishes what has changed: {"cell": ..., "counters": {name: n}}.

    The end marks are cells too, which are waited for: an engine that works exactly once publishes at its next commit.
    """
    cells: dict[str, dict[str, int]] = {}
    missing = job.partitions
    consumer = AIOKafkaConsumer(bootstrap_servers=job.broker, isolation_level="read_committed")
    async with consumer, asyncio.timeout(RESULTS_LIMIT_S):
        only = TopicPartition(job.output, 0)
        consumer.assign([only])
        await consumer.seek_to_beginning(only)
        # Those that count in several threads may publish something just after the end marks.
        while (batches := await consumer.getmany(timeout_ms=1_000)) or missing:
            for record in itertools.chain.from_iterable(batches.values()):
                changed = json.loads(record.value)
                cells.setdefault(changed["cell"], {}).update(changed["counters"])
            missing = job.partitions - sum(END in counters for counters in cells.values())
    return {cell: counters for cell, counters in cells.items() if END not in counters}


def python_engine(module: str, *options: str, home: str = "peers") -> Callable[[Job], list[str]]:
    """The command of an engine in Python, in an environment of the peers."""
    return lambda _: [str(HOME / home / "bin" / "python"), "-m", f"tests.bench.peers.engines.{module}", *options]


def kafka_streams(_: Job) -> list[str]:
    """The command of the engine in Java."""
    built = HOME / "kafka-streams"
    # Each process would write a file to /tmp, and leave it there when it is killed.
    return [str(java()), "-XX:-UsePerfData", "-cp", f"{built / 'classes'}:{built / 'libs'}/*", "peers.Main"]


def own_python(module: str) -> Callable[[Job], list[str]]:
    """The command of an engine that needs nothing but what the tests have."""
    return lambda _: [sys.executable, "-m", f"tests.bench.peers.engines.{module}"]
