"""The rate of events that 2,000 listeners of the push leave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, cast

from ecounters.errors import Stop
from streams.access.accounts import Accounts
from streams.settings.table import Settings
from tests.bench.events import SIMULATED, simulated
from tests.bench.measure import cpu_s, machine_cpu_s, rss_bytes, until_accepted, until_committed
from tests.bench.report import Table, median, say
from tests.bench.testbed import Log, Testbed, app_id
from tests.support.workers import Deployment, Worker

LISTENERS: Final = 2_000
PAIRS: Final = 3
US: Final = 1_000_000

NOTES: Final = (
    f"{LISTENERS:,} streams from a process of their own, each with a session of its own, shared out over the "
    f"{SIMULATED.users} users of the log, all of whose counters change all the time; runs with and without in turns",
    "job/s: a worker that has caught up, with its listeners, is stopped (SIGSTOP) while a log is published, and goes "
    "on (SIGCONT): events a second from there until /metrics says that all are accepted, flushing as always",
    "left: the rate with listeners to the rate without, of one pair; with other work on the machine it says little, as "
    "listeners cost by the second and events by their number",
    "CPU left: the share of a processor that the listeners do not take: the worker's CPU time (/proc/PID/stat) beyond "
    "that of the events, by the run without, to the span. A worker is one thread, so this is what is left of its rate. "
    "Taken until the group's offsets are at the topic's ends, or it would be chance whether the last flush counts",
    "payloads/s: that all listeners got in the span",
    "KiB each: growth of VmRSS from before the listeners come until they are all there, for each",
)


class Run(NamedTuple):
    """One log, counted. ``payloads``: pushed a second, meanwhile; ``each``: bytes of memory for each listener."""

    rate: float
    cpu_us: float
    others: float
    payloads: float
    each: float


def stream(testbed: Testbed, events: int) -> Table:
    """The table of pairs of runs, without and with listeners."""
    table = Table(
        f"stream, {testbed.title}: {events:,} events, without and with {LISTENERS:,} listeners",
        ("", "job/s", "with", "left", "CPU µs", "with", "CPU left", "payloads/s", "KiB each", "others", "with"),
        notes=list(NOTES),
    )
    rows: list[tuple[float, ...]] = []
    ssids = asyncio.run(_open_sessions(testbed.server.redis_url))
    for at in range(1, PAIRS + 1):
        without, with_ = _run(testbed, events, []), _run(testbed, events, ssids)
        left = with_.rate / without.rate
        cpu_left = 1 - (with_.cpu_us - without.cpu_us) / US * with_.rate
        rates = f"{without.rate:,.0f}/s, {with_.rate:,.0f}/s with listeners"
        say(f"pair {at} of {PAIRS}: {rates}: {left:.2f}, CPU {cpu_left:.2f}")
        rows.append(
            (
                without.rate, with_.rate, left, without.cpu_us, with_.cpu_us, cpu_left, with_.payloads,
                with_.each / 1024, without.others, with_.others,
            )
        )  # fmt: skip
        table.add(f"pair {at}", *rows[-1])
    table.add("median", *(median(values) for values in zip(*rows, strict=True)))
    return table


async def _open_sessions(redis_url: str) -> list[str]:
    accounts = Accounts.connect(Settings(redis=redis_url, sessions_per_user=LISTENERS))
    try:
        users = [f"u{at + 1}" for at in range(SIMULATED.users)]
        for user in users:
            await accounts.add_user(user, "UTC")
        return [await accounts.open_session(users[at % len(users)], 86_400) for at in range(LISTENERS)]
    finally:
        await accounts.close()


def _run(testbed: Testbed, events: int, ssids: list[str]) -> Run:
    # A stopped worker sends no heartbeats, and looks up no session.
    deployment = testbed.deployment().with_settings(SESSION_TIMEOUT_S=300, SESSION_CACHE_S=600)
    testbed.make_topics(deployment)
    with testbed.worker(deployment) as worker:
        worker.wait_ready()
        before = rss_bytes(worker.process.pid)
        with _listeners(testbed, worker, ssids) as listeners:
            each = (rss_bytes(worker.process.pid) - before) / len(ssids) if ssids else 0.0
            log = _publish_stopped(testbed, deployment, worker, events)
            pids = worker.process.pid, testbed.server.child.pid, os.getpid(), *([listeners.pid] if listeners else [])
            used, mine, all_used = cpu_s(worker.process.pid), sum(map(cpu_s, pids)), machine_cpu_s()
            worker.process.send_signal(signal.SIGCONT)
            began = time.time()
            seconds = until_accepted(log.messages, worker) - began
            whole_s = asyncio.run(until_committed(testbed.broker, app_id(deployment), log.topic, log.ends)) - began
            used = cpu_s(worker.process.pid) - used
            others = (machine_cpu_s() - all_used - sum(map(cpu_s, pids)) + mine) / whole_s
            payloads = _payloads(listeners) / whole_s if listeners else 0.0
        worker.end()
    return Run(log.messages / seconds, used / log.messages * US, max(0.0, others), payloads, each)


def _publish_stopped(testbed: Testbed, deployment: Deployment, worker: Worker, events: int) -> Log:
    worker.process.send_signal(signal.SIGSTOP)
    return testbed.publish(deployment, simulated(events))


@contextmanager
def _listeners(testbed: Testbed, worker: Worker, ssids: list[str]) -> Iterator[subprocess.Popen[bytes] | None]:
    """Start the process of listeners and wait until all streams are open; None without listeners."""
    if not ssids:
        yield None
        return
    with testbed.helper("tests.bench.stream_listeners", str(worker.port)) as helper:
        assert helper.stdin is not None
        helper.stdin.write(json.dumps(ssids).encode() + b"\n")
        helper.stdin.flush()
        _line(helper)
        yield helper


def _payloads(helper: subprocess.Popen[bytes]) -> int:
    """End the process of listeners; returns the payloads after the first of each."""
    assert helper.stdin is not None
    helper.stdin.close()
    told = _line(helper)
    if told["lost"]:
        raise Stop(f"{told['lost']} of the listeners were dropped, which must not be")
    return told["payloads"] - LISTENERS


def _line(helper: subprocess.Popen[bytes]) -> dict[str, int]:
    assert helper.stdout is not None
    line = helper.stdout.readline()
    if not line:
        raise Stop("the listeners' process ended")
    return cast(dict[str, int], json.loads(line))
