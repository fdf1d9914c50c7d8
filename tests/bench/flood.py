"""The cost of bad events: as many as good ones, on the other half of the partitions."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from ecounters.simulator.chaos import BREAKS
from ecounters.simulator.world import simulate
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Outgoing, Publisher, publisher
from tests.bench.events import SIMULATED
from tests.bench.latency import Load
from tests.bench.measure import MIB, Asker, cpu_s, machine_cpu_s, rss_bytes, until_first_restored
from tests.bench.report import Table, percentile, say
from tests.bench.testbed import PARTITIONS, Testbed
from tests.support.workers import ROOT, Deployment, Worker

GOOD_PARTITIONS: Final = PARTITIONS // 2
"""Good events are on partitions below this number, the flood is on the others."""
LOOK_S: Final = 0.1
LIMIT_S: Final = 300.0
WARM_S: Final = 4.0
BEFORE_S: Final = 8.0
CHUNK: Final = 20_000

BACKLOG_NOTES: Final = (
    "a full topic, and a worker with a new group started on it: good events on half of the partitions, and on the "
    "others nothing; as many good events; as many bad ones, of all kinds that the simulation knows",
    "good/s: good events of the first half, from the first partition restored until /metrics says that they are "
    "counted (with good ones on the other half: until all are; partitions take turns, so both halves end together)",
    "to alone: what is left of the rate of good events alone, with twice the events to read; to good ones: what is "
    "left of the rate at equal load, which is what bad events cost more than good ones; 0.5 has to be left of that",
    "CPU µs: user and system time of the worker for each event, good or bad, until all are dealt with",
    "others: how many processors were busy with anything but worker, embedded broker and bench; far from 0, the rates "
    "say more of the others than of the worker, and CPU µs is what to compare",
    "RSS MiB: VmRSS at the most",
)
LIVE_NOTES: Final = (
    "a worker that has caught up; events of calls as they happen on half of the partitions, and then a process of its "
    "own publishes the bad ones on the other half, as fast as the broker takes them",
    "good/s: published, and counted by /metrics, in the same span; counted to published is what the flood leaves of "
    "the good partitions' rate at the load that is offered",
    "longest answer: of /readyz, asked all the time. not ready: share of its answers that say so; that a partition of "
    "the flood is behind by more than ECOUNTERS_READY_LAG_MS is such a reason",
    "share: the largest ecounters_refused_ratio seen",
    "RSS MiB: VmRSS at the most in that span",
)


# ---------------------------------------------------------------------------------------------- the events


def _simulated(good: bool) -> Iterator[Outgoing]:
    """Simulated events of the users on one half of the partitions."""
    for one in simulate(SIMULATED):
        if one.user_id is not None and (partition_of(one.user_id, PARTITIONS) < GOOD_PARTITIONS) is good:
            yield Outgoing(one.value, one.user_id, False, None)


def bad_events(count: int) -> Iterator[Outgoing]:
    """Broken events of all kinds, with keys of users on the flooded half."""
    broken = zip(itertools.cycle(BREAKS), _simulated(good=False), strict=False)
    for make, message in itertools.islice(broken, count):
        yield message._replace(value=make(message.value))


def _good(half: bool, count: int) -> Iterator[Outgoing]:
    return itertools.islice(_simulated(half), count)


# ---------------------------------------------------------------------------------------------- a full topic


def backlog(testbed: Testbed, events: int) -> Table:
    """The rate of good events from a full topic: alone, beside as many good ones, beside the flood."""
    table = Table(
        f"flood, {testbed.title}: a backlog of {events:,} good events in {GOOD_PARTITIONS} of {PARTITIONS} partitions",
        ("on the other half", "good/s", "to alone", "to good ones", "CPU µs", "others", "RSS MiB", "seconds for all"),
        notes=list(BACKLOG_NOTES),
    )
    rates: dict[str, float] = {}
    kinds: dict[str, Iterator[Outgoing]] = {
        "nothing": iter(()), "good ones": _good(False, events), "the flood": bad_events(events)
    }  # fmt: skip
    for label, made in kinds.items():
        others = list(made)
        deployment = testbed.deployment()
        testbed.make_topics(deployment)
        say(f"publishing {events:,} good events, and on the other half {label}: {len(others):,}")
        testbed.publish(deployment, itertools.chain.from_iterable(_mixed(_good(True, events), others)))
        good = 2 * events if label == "good ones" else events
        run = _counted(testbed, deployment, good, events + len(others))
        rate = rates[label] = events / run.good_s
        equal = rate / rates["good ones"] if "good ones" in rates else ""
        table.add(label, rate, rate / rates["nothing"], equal, run.cpu_us, run.others, run.rss / MIB, run.all_s)
        say(f"{label}: {rate:,.0f} good events/s")
    return table


def _mixed(good: Iterator[Outgoing], others: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Good and other events in turns, so that neither half is published first."""
    at = iter(others)
    while chunk := [*itertools.islice(good, CHUNK), *itertools.islice(at, CHUNK)]:
        yield chunk


class Run(NamedTuple):
    """One worker over a full topic.

    ``good_s``: seconds until all good events were counted. ``all_s``: until all events were read.
    """

    good_s: float
    all_s: float
    cpu_us: float
    others: float
    rss: int


def _counted(testbed: Testbed, deployment: Deployment, good: int, events: int) -> Run:
    """Measure one worker. ``good``: events to be counted; ``events``: all events."""
    with testbed.worker(deployment) as worker:
        pids = worker.process.pid, testbed.server.child.pid, os.getpid()
        began = until_first_restored(worker).first
        used, mine, all_used = cpu_s(worker.process.pid), sum(map(cpu_s, pids)), machine_cpu_s()
        asker, deadline = Asker(worker), time.monotonic() + LIMIT_S
        good_s = all_s = 0.0
        rss = 0
        while not all_s:
            metrics, at = asker.metrics(), time.time() - began
            rss = max(rss, rss_bytes(worker.process.pid))
            accepted, refused = (
                metrics["ecounters_events_accepted_total"],
                metrics.get("ecounters_events_refused_total", 0.0),
            )
            if not good_s and accepted >= good:
                good_s = at
            if good_s and accepted + refused >= events:
                all_s = at
            if time.monotonic() > deadline or worker.process.poll() is not None:
                raise Stop(f"only {accepted:,.0f} counted and {refused:,.0f} refused:\n{worker.log_tail()}")
            time.sleep(LOOK_S)
        cpu_us = (cpu_s(worker.process.pid) - used) / events * 1e6
        others = (machine_cpu_s() - all_used - sum(map(cpu_s, pids)) + mine) / all_s
        asker.close()
        worker.end()
    return Run(good_s, all_s, cpu_us, max(0.0, others), rss)


# ---------------------------------------------------------------------------------------------- as it happens


class Half:
    """A publisher that passes on the messages of the good partitions, and counts them."""

    def __init__(self, to: Publisher) -> None:
        self._to = to
        self.count = 0

    async def put(self, message: Outgoing) -> int:
        """Publish a message, if its partition is a good one; returns how many were published."""
        if message.user_id is None or partition_of(message.user_id, PARTITIONS) >= GOOD_PARTITIONS:
            return 0
        self.count += 1
        return await self._to.put(message)

    async def send(self) -> None:
        """Send what is buffered."""
        await self._to.send()


class Look(NamedTuple):
    """One look at the worker. ``why``: why it is not ready, or ""; ``answered_s``: seconds until it said so."""

    at: float
    published: int
    accepted: float
    refused: float
    share: float
    rss: int
    why: str
    answered_s: float


@dataclass
class Watch:
    """Looks at a worker repeatedly and keeps the looks."""

    worker: Worker
    half: Half
    looks: list[Look] = field(default_factory=list)

    def look(self) -> Look:
        """Look once. Runs in a thread, so that publishing goes on."""
        began = time.monotonic()
        why = self.worker.why_not_settled()
        answered_s = time.monotonic() - began
        asker = Asker(self.worker)
        published = self.half.count
        try:
            metrics = asker.metrics()
        finally:
            asker.close()
        one = Look(
            time.monotonic(), published, metrics["ecounters_events_accepted_total"],
            metrics.get("ecounters_events_refused_total", 0.0), metrics.get("ecounters_refused_ratio", 0.0),
            rss_bytes(self.worker.process.pid), why, answered_s,
        )  # fmt: skip
        self.looks.append(one)
        return one

    def row(self, label: str) -> list[str | float]:
        """The row of the table for the looks so far, which are forgotten then."""
        looks, self.looks = self.looks, []
        first, last = looks[0], looks[-1]
        seconds = last.at - first.at
        published, accepted = last.published - first.published, last.accepted - first.accepted
        reasons = {one.why for one in looks if one.why}
        if reasons:
            say(f"{label}: not ready, e.g.: {max(reasons)}")
        return [
            label, seconds, published / seconds, accepted / seconds, accepted / published,
            (last.refused - first.refused) / seconds, percentile([one.answered_s * 1000 for one in looks], 1.0),
            sum(bool(one.why) for one in looks) / len(looks), max(one.share for one in looks),
            max(one.rss for one in looks) / MIB,
        ]  # fmt: skip


def live(testbed: Testbed, events: int) -> Table:
    """The flood beside calls that are counted as they happen."""
    deployment = testbed.deployment()
    testbed.make_topics(deployment)
    table = Table(
        f"flood, {testbed.title}: {events:,} bad events beside good ones as they happen",
        ("", "seconds", "good published/s", "counted/s", "counted to published", "refused/s",
         "longest answer ms", "not ready", "share", "RSS MiB"),
        notes=list(LIVE_NOTES),
    )  # fmt: skip
    with testbed.worker(deployment) as worker:
        worker.wait_ready()
        try:
            for row in asyncio.run(_live(deployment, worker, events)):
                table.add(*row)
        except (OSError, http.client.HTTPException) as error:
            raise Stop(f"the worker gave no answer ({error}):\n{worker.log_tail()}") from error
        worker.end()
    return table


async def _live(deployment: Deployment, worker: Worker, events: int) -> list[list[str | float]]:
    async with publisher(deployment.kafka, deployment.name) as publishing:
        half = Half(publishing)
        watch = Watch(worker, half)
        going = asyncio.create_task(Load(half).go())  # type: ignore[arg-type]  # all that it asks of a publisher
        flood = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.flood", deployment.broker, deployment.name, str(events),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert flood.stdin is not None and flood.stdout is not None
        try:
            async with asyncio.timeout(LIMIT_S):
                if not await flood.stdout.readline():
                    raise Stop("the flood could not be made")
            await asyncio.sleep(WARM_S)
            rows = [await _span(watch, "before", lambda _, passed: passed > BEFORE_S)]
            say(f"{events:,} bad events")
            flood.stdin.write(b"go\n")
            await flood.stdin.drain()
            rows.append(await _span(watch, "flood", lambda look, _: look.refused >= events))
            rows.append(await _span(watch, "after", lambda _, passed: passed > BEFORE_S))
            return rows
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
            if flood.returncode is None:
                flood.kill()
            await flood.wait()


async def _span(watch: Watch, label: str, over: Any) -> list[str | float]:
    began = time.monotonic()
    while True:
        look = await asyncio.to_thread(watch.look)
        passed = time.monotonic() - began
        if over(look, passed):
            return watch.row(label)
        if passed > LIMIT_S:
            raise Stop(f"{label}: after {LIMIT_S:g} s only {look.refused:,.0f} refused:\n{watch.worker.log_tail()}")
        await asyncio.sleep(LOOK_S)


async def _pour(broker: str, topic: str, messages: list[Outgoing]) -> None:
    async with publisher(Kafka(broker), topic) as publishing:
        for message in messages:
            await publishing.put(message)


def _pourer() -> None:
    """The process that publishes the flood: it makes the events, says so, and waits for a line on stdin."""
    broker, topic, events = sys.argv[1:]
    messages = list(bad_events(int(events)))
    print("made", flush=True)
    if sys.stdin.readline():
        asyncio.run(_pour(broker, topic, messages))


if __name__ == "__main__":
    _pourer()
