"""Replies a second of one worker: of a user that does not change, of one that does, and beside a feed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final

from streams.access.accounts import Accounts
from streams.kafka.publisher import publisher
from streams.settings.table import Settings
from tests.bench.events import simulated
from tests.bench.http_client import CONNECTIONS, HttpLoad
from tests.bench.latency import RATE, Load
from tests.bench.measure import cpu_s, run_helper, until_first_restored
from tests.bench.paced_publisher import paced
from tests.bench.report import Table, percentile, say
from tests.bench.testbed import PARTITIONS, Testbed
from tests.bench.throughput import make_log, run_job
from tests.support.workers import Deployment, Worker

USER: Final = "u1"
"""A user whose calls the load publishes."""
SECONDS: Final = 6.0
PACED: Final = 100.0
WARM_S: Final = 4.0
BACKLOG: Final = 1_500_000
BEHIND_S: Final = 4.0
SPARE_S: Final = 4.0
"""Time around the requests: the log must not end before them."""
ACCEPTED: Final = "ecounters_events_accepted_total"


def http_speed(testbed: Testbed) -> Table:
    """The table: replies a second, their times, and their CPU time in the worker."""
    deployment = testbed.deployment()
    testbed.make_topics(deployment)
    token = asyncio.run(_token(testbed.server.redis_url))
    body = json.dumps({"userId": USER, "token": token})
    table = Table(
        f"answers, {testbed.title}: one worker, {CONNECTIONS} connections",
        ("", "answers/s", "p50 ms", "p99 ms", "CPU us each", "different"),
        notes=[
            f"flat out: {CONNECTIONS} kept connections, each asks again when it has its answer; at a pace: "
            f"{PACED:,.0f} questions/s, each timed from when it was due. A process of its own asks",
            f"with the feed: {RATE:,} events/s of 50 users, of whom the one asked for is one",
            "the last rows: while it reads a log at half its full speed (measured before, without questions) "
            "and while it reads a backlog as fast as it can; asked for the one of the log's 50 users who has a fifth "
            "of the calls; times without the first second, which begins with all calls since the last flush",
            "CPU: of the worker, for all that it did, by the answers; different: answers, by their ETags",
        ],
    )
    with testbed.worker(deployment) as worker:
        worker.wait_ready()
        asyncio.run(_all(deployment, worker, body, table))
        worker.end()
    deployment, log = make_log(testbed, BACKLOG)
    full = run_job(testbed, testbed.with_new_group(deployment), log).rate
    asyncio.run(_at_half_speed(testbed, full / 2, body, table))
    with testbed.worker(deployment) as worker:
        until_first_restored(worker)
        say(f"answers: beside a backlog, for {BEHIND_S:g} s")
        asyncio.run(_beside(worker, BEHIND_S, body, table))
        if worker.metric(ACCEPTED) >= BACKLOG:
            say("the backlog was read before the time was over: its row says less than it should")
    return table


async def _at_half_speed(testbed: Testbed, rate: float, body: str, table: Table) -> None:
    """Replies while the worker reads ``rate`` events a second."""
    deployment = testbed.deployment()
    await asyncio.to_thread(testbed.make_topics, deployment)
    with testbed.worker(deployment) as worker:
        await asyncio.to_thread(worker.wait_ready)
        say(f"answers: beside {rate:,.0f} events/s, for {SECONDS:g} s")
        messages = simulated(round(rate * (SECONDS + SPARE_S)))
        async with paced(deployment.broker, deployment.name, PARTITIONS, messages, rate):
            await asyncio.sleep(1)
            await _beside(worker, SECONDS, body, table)


async def _beside(worker: Worker, seconds: float, body: str, table: Table) -> None:
    before = worker.metric(ACCEPTED), cpu_s(worker.process.pid)
    result = await run_helper("tests.bench.http_client", HttpLoad(worker.port, body, seconds, PACED))
    events, used_s = worker.metric(ACCEPTED) - before[0], cpu_s(worker.process.pid) - before[1]
    _add(table, f"at a pace, {events / result['seconds']:,.0f} events/s", result, used_s, without_first=round(PACED))
    say(f"answers: the first one took {result['times'][0] * 1000:,.0f} ms")


async def _token(redis_url: str) -> str:
    accounts = Accounts.connect(Settings(redis=redis_url))
    try:
        return await accounts.add_user(USER, "UTC")
    finally:
        await accounts.close()


async def _all(deployment: Deployment, worker: Worker, body: str, table: Table) -> None:
    async with _feed(deployment):
        pass  # so that the user has calls
    for name, rate, fed in (
        ("unchanged, flat out", 0.0, False),
        ("changing, flat out", 0.0, True),
        ("changing, at a pace", PACED, True),
    ):
        say(f"answers: {name}, for {SECONDS:g} s")
        async with _feed(deployment) if fed else nullcontext():
            before = cpu_s(worker.process.pid)
            result = await run_helper("tests.bench.http_client", HttpLoad(worker.port, body, SECONDS, rate))
            used_s = cpu_s(worker.process.pid) - before
        _add(table, name, result, used_s)


def _add(table: Table, name: str, result: dict[str, Any], used_s: float, without_first: int = 0) -> None:
    """Add a row. ``without_first``: the times of so many answers are left out."""
    times, answers = [one * 1000 for one in result["times"][without_first:]], len(result["times"])
    table.add(
        name, answers / result["seconds"], percentile(times, 0.5), percentile(times, 0.99),
        used_s / answers * 1e6, result["different"],
    )  # fmt: skip


@asynccontextmanager
async def _feed(deployment: Deployment) -> AsyncIterator[None]:
    async with publisher(deployment.kafka, deployment.name) as publishing:
        going = asyncio.create_task(Load(publishing).go())
        try:
            await asyncio.sleep(WARM_S)
            yield
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
