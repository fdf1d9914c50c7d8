"""The same log read and dropped, and read by a worker, in turns, so that both have the same noise."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final, NamedTuple

from tests.bench.events import SIMULATED, simulated
from tests.bench.measure import cpu_s, machine_cpu_s, until_accepted, until_committed, until_first_restored
from tests.bench.report import Table, median, say
from tests.bench.testbed import Log, Testbed, app_id, outcome
from tests.support.workers import Deployment, Worker

PAIRS: Final = 3
US: Final = 1_000_000

NOTES: Final = (
    "raw: events a second of a process of its own with an AIOKafkaConsumer, fetch_bytes and fetch_wait_ms as the "
    "worker's, getmany in a loop, records dropped; from its seek to the last record",
    "raw, its gc: the same once more with the worker's thresholds of Python's garbage collector; the yardstick is "
    "without, as the worker's settings must not change it",
    "job: events a second of a worker process with a new group and an empty changelog, started on the full topic, "
    "flushing as always; from its log's first line `partition N restored` until /metrics says that all are accepted",
    "saved: the same, until the group's offsets are at the topic's ends: also what the job's rate leaves out, the last "
    "flushes and the commit after them (commits are once a second, which weighs the more the fewer events there are)",
    "CPU µs: user and system time for each event (/proc/PID/stat) of that process, in the same span, the job's until "
    "saved; less noisy than the clock",
    "others: how many processors were busy during the job with anything but worker, embedded broker and bench; far "
    "from 0, the rates say more of the others than of the worker",
)


class Raw(NamedTuple):
    """The consumer alone: events a second, CPU µs an event. ``tuned_rate``: with the worker's gc thresholds."""

    rate: float
    tuned_rate: float
    cpu_us: float


class Job(NamedTuple):
    """One run of a worker over a log. Rates are events a second."""

    rate: float
    saved_rate: float
    cpu_us: float
    others: float


def make_log(testbed: Testbed, events: int) -> tuple[Deployment, Log]:
    """Publish the simulated log to new topics."""
    deployment = testbed.deployment()
    say(f"making and publishing {events:,} events ({SIMULATED.users} users, {SIMULATED.rate_per_s:g} calls/s)")
    testbed.make_topics(deployment)
    return deployment, testbed.publish(deployment, simulated(events))


def run_raw(testbed: Testbed, log: Log) -> Raw:
    """Measure the consumer alone, with both gc thresholds."""
    plain, tuned = _read(testbed, log), _read(testbed, log, "gc")
    rate = plain["events"] / plain["seconds"]
    return Raw(rate, tuned["events"] / tuned["seconds"], plain["cpu_s"] / plain["events"] * US)


def _read(testbed: Testbed, log: Log, *options: str) -> dict[str, float]:
    with testbed.helper("tests.bench.raw_consumer", testbed.broker, log.topic, *options) as helper:
        return outcome(helper)


def run_job(testbed: Testbed, deployment: Deployment, log: Log) -> Job:
    """Measure one worker, from an empty state until everything is flushed. Its state stays in the changelog."""
    with testbed.worker(deployment) as worker:
        began = until_first_restored(worker).first
        pids = _pids(testbed, worker)
        started, used, mine, all_used = time.time(), cpu_s(worker.process.pid), sum(map(cpu_s, pids)), machine_cpu_s()
        accepted = until_accepted(log.messages, worker)
        others = (machine_cpu_s() - all_used - sum(map(cpu_s, pids)) + mine) / (time.time() - started)
        saved = asyncio.run(until_committed(testbed.broker, app_id(deployment), log.topic, log.ends))
        used = cpu_s(worker.process.pid) - used
        worker.end()
    messages = log.messages
    return Job(messages / (accepted - began), messages / (saved - began), used / messages * US, max(0.0, others))


def _pids(testbed: Testbed, worker: Worker) -> tuple[int, ...]:
    return worker.process.pid, testbed.server.child.pid, os.getpid()


def throughput(testbed: Testbed, deployment: Deployment, log: Log, pairs: int) -> tuple[Table, Deployment]:
    """The table, and the deployment of the last job, whose changelog is complete."""
    size = log.value_bytes / log.messages
    table = Table(
        f"throughput, {testbed.title}: {log.messages:,} events of {size:.0f} bytes in {len(log.ends)} partitions",
        ("", "raw/s", "raw/s, its gc", "job/s", "job/raw", "saved/s", "raw CPU µs", "job CPU µs", "others"),
        notes=list(NOTES),
    )
    runs: list[tuple[float, ...]] = []
    last = deployment
    for at in range(1, pairs + 1):
        raw = run_raw(testbed, log)
        if runs:
            testbed.delete_changelog(last)
        last = testbed.with_new_group(deployment)
        job = run_job(testbed, last, log)
        say(f"pair {at} of {pairs}: raw {raw.rate:,.0f}/s, job {job.rate:,.0f}/s")
        runs.append(
            (
                raw.rate,
                raw.tuned_rate,
                job.rate,
                job.rate / raw.rate,
                job.saved_rate,
                raw.cpu_us,
                job.cpu_us,
                job.others,
            )
        )
        table.add(f"pair {at}", *runs[-1])
    table.add("median", *(median(values) for values in zip(*runs, strict=True)))
    return table, last
