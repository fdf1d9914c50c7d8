"""Reading a process while it works: CPU time, memory, log, metrics, and the offsets of its group.

A request to the worker costs time that is measured with the rest. So most is read from the system and the broker.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ecounters.errors import Stop
from tests.support.workers import ROOT, Worker

MIB: Final = 1_048_576
SAMPLE_LEAST_S: Final = 0.005
SAMPLE_MOST_S: Final = 0.25
"""The longest time between two requests for /metrics; they come faster near the end."""
LOG_LOOK_S: Final = 0.005
OFFSETS_LOOK_S: Final = 0.05
START_LIMIT_S: Final = 60.0
COMMIT_LIMIT_S: Final = 30.0
SLOWEST: Final = 2_000
"""Events a second. A worker that is slower is given up."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STAMP: Final = r"^([\d-]+T[\d:.]+Z) INFO "
_GENERATION: Final = re.compile(_STAMP + r"[\w.]+: generation \d+: partitions \[", re.MULTILINE)
_RESTORED: Final = re.compile(
    _STAMP + r"[\w.]+: partition \d+ restored: (\d+) entries in ([0-9.]+) s, next offset", re.MULTILINE
)


# ---------------------------------------------------------------------------------------------- the system


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_cpu_s() -> float:
    """Time that all processors have worked so far, for any process."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def rss_bytes(pid: int) -> int:
    """The memory of a process that is in RAM (VmRSS)."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise Stop(f"process {pid} has ended")
    return int(found[1]) * 1024


# ---------------------------------------------------------------------------------------------- the worker's log


class Restored(NamedTuple):
    """The start of a worker, as its log tells it. Times are as time.time(), to the ms."""

    shared_out: float
    """When it was assigned its partitions."""
    first: float
    """When its first partition was restored, and reading of events began."""
    last: float
    partitions: int
    entries: int
    longest_s: float
    """The longest restore of one partition, as the log says."""


def restored(log: Path) -> Restored | None:
    """What the log says so far; None if no partition has been restored."""
    text = log.read_text(errors="replace")
    generation, lines = _GENERATION.search(text), _RESTORED.findall(text)
    if generation is None or not lines:
        return None
    times = [_time(stamp) for stamp, _, _ in lines]
    entries, seconds = [int(count) for _, count, _ in lines], [float(took) for _, _, took in lines]
    return Restored(_time(generation[1]), min(times), max(times), len(lines), sum(entries), max(seconds))


def until_first_restored(worker: Worker) -> Restored:
    """Wait until the first partition is restored. Reads the log alone, which disturbs no process."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        found = restored(worker.log)
        if found is not None:
            return found
        _check(worker, deadline, "no partition was restored")
        time.sleep(LOG_LOOK_S)


def _time(stamp: str) -> float:
    """The time of a log line, as seconds."""
    return datetime.fromisoformat(stamp).timestamp()


def _check(worker: Worker, deadline: float, what: str) -> None:
    if worker.process.poll() is not None:
        raise Stop(f"the worker ended with exit code {worker.process.returncode}:\n{worker.log_tail()}")
    if time.monotonic() > deadline:
        raise Stop(f"{what} in time; the end of the worker's log:\n{worker.log_tail()}")


# ---------------------------------------------------------------------------------------------- its metrics


class Asker:
    """Asks a worker for its metrics on one connection."""

    def __init__(self, worker: Worker) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)

    def metrics(self) -> dict[str, float]:
        """All metrics; with labels, their sum."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        found: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def until_accepted(events: int, *workers: Worker) -> float:
    """Wait until workers have counted so many events in all since their start; returns when, as time.time().

    A request costs the worker about 1 ms. So the next one comes after a part of the time that is left at the rate so
    far: the end is seen to some 5 ms with few requests.
    """
    askers = [Asker(one) for one in workers]
    began = time.monotonic()
    deadline = began + START_LIMIT_S + events / SLOWEST
    first: float | None = None
    try:
        while True:
            metrics, at = [asker.metrics() for asker in askers], time.time()
            accepted = sum(one["ecounters_events_accepted_total"] for one in metrics)
            first = accepted if first is None else first
            if accepted >= events:
                return at
            lost = sum(one.get("ecounters_events_refused_total", 0.0) for one in metrics)
            lost += sum(one["ecounters_events_misrouted_total"] for one in metrics)
            if lost:
                raise Stop(f"{lost:.0f} of the bench's events were refused or misrouted, which must not be")
            for one in workers:
                _check(one, deadline, f"only {accepted:,.0f} of {events:,} events were counted")
            rate = (accepted - first) / (time.monotonic() - began)
            left_s = (events - accepted) / rate if rate else SAMPLE_MOST_S
            time.sleep(min(SAMPLE_MOST_S, max(SAMPLE_LEAST_S, left_s / 3)))
    except (OSError, http.client.HTTPException) as error:
        tails = "\n".join(one.log_tail() for one in workers)
        raise Stop(f"the worker gave no answer ({error}); the end of its log:\n{tails}") from error
    finally:
        for asker in askers:
            asker.close()


class Counted(NamedTuple):
    """How far a process was at a time: ``events`` counted, ``cpu_s`` used. ``at`` is as time.time()."""

    at: float
    events: int
    cpu_s: float


def until_counted(events: int, messages: int, worker: Worker) -> Counted:
    """Wait until a worker has counted so many events of a topic with so many messages; returns how many it has then.

    Its lags tell how many: the metric of accepted events grows only at the end of each batch. Time and CPU time are the
    means of those before and after the request for the lags.
    """
    until_accepted(events, worker)
    asker, pid = Asker(worker), worker.process.pid
    try:
        sent, used_s = time.time(), cpu_s(pid)
        lag, received = asker.metrics()["ecounters_partition_lag_events"], time.time()
        return Counted((sent + received) / 2, messages - round(lag), (used_s + cpu_s(pid)) / 2)
    finally:
        asker.close()


# ---------------------------------------------------------------------------------------------- its group


async def ends_of(broker: str, topic: str, partitions: int) -> dict[int, int]:
    """The end offset of each partition of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic, at) for at in range(partitions)])
        return {tp.partition: end for tp, end in ends.items()}
    finally:
        await consumer.stop()


async def until_committed(broker: str, group: str, topic: str, ends: Mapping[int, int]) -> float:
    """Wait until a group's committed offsets are at ``ends``; returns when, as time.time(). All is flushed then."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    committed: dict[int, int] = {}
    await admin.start()
    try:
        async with asyncio.timeout(COMMIT_LIMIT_S):
            while True:
                offsets = await admin.list_consumer_group_offsets(group)
                at = time.time()
                committed = {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == topic}
                if all(committed.get(partition, 0) >= end for partition, end in ends.items()):
                    return at
                await asyncio.sleep(OFFSETS_LOOK_S)
    except TimeoutError:
        raise Stop(
            f"offsets of group {group} were not committed in {COMMIT_LIMIT_S:g} s: {committed}, not {ends}"
        ) from None
    finally:
        await admin.close()


# ---------------------------------------------------------------------------------------------- processes


async def run_helper(module: str, job: NamedTuple) -> dict[str, Any]:
    """Run a module in a process of its own: the job goes to stdin as JSON, the result comes from stdout as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = await process.communicate(json.dumps(job._asdict()).encode())
        if process.returncode:
            raise Stop(f"{module} ended with exit code {process.returncode}")
        result: dict[str, Any] = json.loads(output)
        return result
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
