"""The time from publishing an event until a reply includes it, beside a steady stream of other events."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from ecounters.errors import Stop
from streams.access.accounts import Accounts
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Publisher, publisher
from streams.settings.table import Settings
from tests.bench.events import Rounds, Switch
from tests.bench.measure import run_helper
from tests.bench.probe import USER, ProbeJob
from tests.bench.report import Table, percentile, say
from tests.bench.testbed import PARTITIONS, Testbed
from tests.support.workers import Worker

RATE: Final = 5_000
TICK_S: Final = 0.012
TICK_CALLS: Final = 10
CALL_TICKS: Final = 250
"""A call lasts 3 s. From then on as many calls end as start, and RATE is reached."""
WARM_S: Final = 4.0
PROBE_EVERY_S: Final = 0.02
USERS: Final = 50
assert TICK_CALLS * Rounds.ROUND_EVENTS / TICK_S == RATE


class Load:
    """Publishes RATE events a second, with the present time, in small lots."""

    def __init__(self, to: Publisher) -> None:
        self._to = to
        self._rounds = Rounds(Switch(USERS, 5_000), TICK_CALLS, CALL_TICKS)
        self.events = 0

    async def go(self) -> None:
        """Publish until cancelled. A lot that is late is published at once."""
        due = time.monotonic()
        while True:
            for message in self._rounds.next(int(time.time() * 1000)):
                self.events += await self._to.put(message)
            await self._to.send()
            due += TICK_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def latency(testbed: Testbed, seconds: float) -> Table:
    """The table of the probes' percentiles."""
    deployment = testbed.deployment()
    testbed.make_topics(deployment)
    token = asyncio.run(_token(testbed.server.redis_url))
    with testbed.worker(deployment) as worker:
        worker.wait_ready()
        say(f"{RATE:,} events/s for {WARM_S + seconds:g} s, and a probe each {PROBE_EVERY_S * 1000:g} ms")
        job = ProbeJob(
            testbed.broker, deployment.name, PARTITIONS, worker.port, token, int(seconds / PROBE_EVERY_S), PROBE_EVERY_S
        )
        result, rate = asyncio.run(_measure(job))
        if result["missing"]:
            raise Stop(f"{result['missing']} probes were never seen; the end of the log:\n{worker.log_tail()}")
        _check_lag(worker)
        worker.end()
    return _table(testbed, result, rate)


async def _token(redis_url: str) -> str:
    accounts = Accounts.connect(Settings(redis=redis_url))
    try:
        return await accounts.add_user(USER, "UTC")
    finally:
        await accounts.close()


def _check_lag(worker: Worker) -> None:
    why = worker.why_not_settled()
    if why:
        say(f"the worker was not ready at the end: {why}")


async def _measure(job: ProbeJob) -> tuple[dict[str, Any], float]:
    """The measurements of the probe process, and the rate that was published meanwhile."""
    async with publisher(Kafka(job.broker), job.topic) as publishing:
        load = Load(publishing)
        going = asyncio.create_task(load.go())
        try:
            await asyncio.sleep(WARM_S)
            before, began = load.events, time.monotonic()
            probe = asyncio.create_task(run_helper("tests.bench.probe", job))
            await asyncio.wait([probe, going], return_when=asyncio.FIRST_COMPLETED)
            if not probe.done():
                probe.cancel()
                going.result()
            return probe.result(), (load.events - before) / (time.monotonic() - began)
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)


def _table(testbed: Testbed, result: dict[str, Any], rate: float) -> Table:
    table = Table(
        f"latency, {testbed.title}: one worker at {rate:,.0f} events/s, {len(result['visible'])} probes",
        ("ms", "p50", "p95", "p99", "max"),
        notes=[
            "publish to visible: a process of its own publishes a call.started of a probe user every "
            f"{PROBE_EVERY_S * 1000:g} ms (producer's send called: the clock starts) and asks for that user's counters "
            "on one kept connection; the first answer whose TC has the call stops the clock, when it is received",
            "publish to acknowledged: the same events, until the broker has said that it has them; what of the latency "
            "is not the worker's",
            "between answers: the time from one answer to the next, which is how exact all this is; "
            f"{result['asked'] / result['seconds']:,.0f} questions/s were asked, and the worker served them besides",
            f"the {rate:,.0f} events/s are published by this process in lots of {TICK_S * 1000:g} ms, ts = now; goal: "
            f"{RATE:,}",
        ],
    )
    for name, key in (
        ("publish to visible", "visible"),
        ("publish to acknowledged", "acknowledged"),
        ("between answers", "gaps"),
    ):
        values = [value * 1000 for value in result[key]]
        table.add(name, *(percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)))
    return table
