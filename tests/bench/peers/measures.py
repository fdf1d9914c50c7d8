"""The three measurements of an engine: throughput, latency, and what a kill leaves wrong."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis

from ecounters.errors import Stop
from streams.access.accounts import Accounts
from streams.kafka.clients import Kafka
from streams.kafka.publisher import publisher
from streams.local.ports import free_ports
from streams.settings.table import Settings
from tests.bench.latency import Load
from tests.bench.measure import ends_of, run_helper
from tests.bench.paced_publisher import paced
from tests.bench.peers.compare import USERS, Difference, Values, difference, end_marks, log, recounted
from tests.bench.peers.engine import Engine, Running, Site
from tests.bench.peers.job import Job
from tests.bench.peers.ours import Ours
from tests.bench.peers.probe import PeerProbe
from tests.bench.probe import USER
from tests.bench.report import percentile
from tests.bench.testbed import PARTITIONS, Log, Testbed, app_id
from tests.support.accounts import TOKEN
from tests.support.workers import Deployment

START_LIMIT_S: Final = 90.0
SLOWEST: Final = 300
"""Events a second. An engine that is slower is given up."""
WARM_S: Final = 10.0
"""Before the probes: a JVM compiles meanwhile what is hot."""
PROBE_EVERY_S: Final = 0.02
KILL_SHARE: Final = 0.75
"""The process is killed after this share of the log: past the first commit of Kafka Streams, which is at 30 s."""
ENDS_EVERY_S: Final = 0.5
AFTER_KILL_S: Final = 90.0
"""Time for the restart, the session timeout and what is left to read."""
WARM_SHARE: Final = 0.4
"""This share of a full log is counted before the measurement begins: a JVM works ten times as much meanwhile."""
US: Final = 1_000_000


class Work(NamedTuple):
    """A run over a full log. ``difference``: None for an engine that counts nothing."""

    rate: float
    cpu_us: float
    peak_bytes: int
    difference: Difference | None


class Published(NamedTuple):
    """A log in a topic, and what the recount counts of it."""

    deployment: Deployment
    log: Log
    expected: Values


class Bench:
    """Measures engines on one testbed. ``redis``: URL of the engines' own Redis."""

    def __init__(self, testbed: Testbed, redis: str) -> None:
        self._testbed = testbed
        self._redis = redis
        self._runs = itertools.count(1)
        self._logs: dict[int, Published] = {}

    def prepare(self) -> None:
        """Make the accounts that workers of this project are asked for."""
        asyncio.run(_add_users(self._testbed.server.redis_url))

    def published(self, events: int) -> Published:
        """The log of so many events, published once, with end marks."""
        if events not in self._logs:
            deployment = self._testbed.deployment()
            self._testbed.make_topics(deployment)
            messages = itertools.chain(log(events), end_marks(PARTITIONS))
            self._logs[events] = Published(
                deployment, self._testbed.publish(deployment, messages), recounted(log(events))
            )
        return self._logs[events]

    # --------------------------------------------------------------------------------------- measurements

    def throughput(self, engine: Engine | Ours, events: int) -> Work:
        """Count a full log from its beginning."""
        full = self.published(round(events * engine.share))
        with self._site(engine, full.deployment, full.log.messages) as site, self._started(engine, site) as running:
            limit_s = START_LIMIT_S + full.log.messages / SLOWEST
            began, ended = running.wait_began(limit_s), running.wait_ended(limit_s)
            used_s, peak = running.cpu_s() - began.cpu_s, running.peak_bytes()
            counts = isinstance(engine, Ours) or engine.readable
            apart = difference(full.expected, running.values()) if counts else None
            events = full.log.messages - began.events
        return Work(events / (ended - began.at), used_s / events * US, peak, apart)

    def latency(self, engine: Engine | Ours, seconds: float) -> tuple[float, float]:
        """p50 and p99 of publish to readable in ms, beside the events of ``Load``."""
        deployment = self._testbed.deployment()
        self._testbed.make_topics(deployment)
        with self._site(engine, deployment, 0) as site, self._started(engine, site) as running:
            result = asyncio.run(self._probed(engine, site, running, seconds))
        if result["missing"]:
            raise Stop(f"{result['missing']} probes were never seen")
        visible = [value * 1000 for value in result["visible"]]
        return percentile(visible, 0.5), percentile(visible, 0.99)

    async def _probed(self, engine: Engine | Ours, site: Site, running: Running, seconds: float) -> dict[str, Any]:
        job, readable = site.job, "ours" if isinstance(engine, Ours) else engine.readable
        probes = PeerProbe(
            readable, job.broker, job.topic, job.output, job.partitions, job.port, job.redis,
            int(seconds / PROBE_EVERY_S), PROBE_EVERY_S,
        )  # fmt: skip
        async with publisher(Kafka(job.broker), job.topic) as publishing:
            going = asyncio.create_task(Load(publishing).go())
            try:
                await asyncio.to_thread(running.wait_began, START_LIMIT_S)
                await asyncio.sleep(WARM_S)
                return await run_helper("tests.bench.peers.probe", probes)
            finally:
                going.cancel()
                await asyncio.gather(going, return_exceptions=True)

    def killed(self, engine: Engine | Ours, seconds: float) -> Difference:
        """Kill the engine's processes while a log is published, start it again, and compare its counters."""
        events = round(seconds * engine.kill_rate)
        deployment = self._testbed.deployment()
        self._testbed.make_topics(deployment)
        with self._site(engine, deployment, 0) as site, asyncio.Runner() as runner, ExitStack() as exits:
            running = runner.run(self._fed(engine, site, events, exits))
            self._testbed.publish(deployment, end_marks(PARTITIONS))
            running.wait_ended(AFTER_KILL_S + events / SLOWEST)
            return difference(recounted(log(events)), running.values())

    async def _fed(self, engine: Engine | Ours, site: Site, events: int, exits: ExitStack) -> Running:
        """Publish a log, and kill and restart the engine meanwhile; returns what was started last."""
        job, rate = site.job, engine.kill_rate
        async with paced(job.broker, job.topic, PARTITIONS, log(events), rate):
            running = exits.enter_context(self._started(engine, site))
            await asyncio.to_thread(running.wait_began, START_LIMIT_S)
            await asyncio.sleep(events * KILL_SHARE / rate)
            running.kill()
            running = exits.enter_context(self._started(engine, site))
            await _until_published(job, events)
        return running

    # ------------------------------------------------------------------------------------------- processes

    @contextmanager
    def _site(self, engine: Engine | Ours, deployment: Deployment, messages: int) -> Iterator[Site]:
        """A group, a folder and a topic for results of its own. ``messages``: those in the topic, 0 if more come."""
        if engine.readable == "redis" and not self._redis:
            raise Stop("there is no redis-server: apt-get install redis-server")
        own = self._testbed.with_new_group(deployment)
        group = app_id(own)
        folder = self._testbed.dir / f"{engine.key}-{next(self._runs)}"
        folder.mkdir()
        job = Job(
            broker=self._testbed.broker, topic=deployment.name, output=f"{group}-output", group=group,
            partitions=PARTITIONS, events=messages,
            warm_up=round(messages * WARM_SHARE),
            folder=str(folder), port=free_ports(1)[0], redis=self._redis,
            guarantee="" if isinstance(engine, Ours) else engine.guarantee,
        )  # fmt: skip
        if engine.readable == "topic":
            asyncio.run(_create_topic(job))
        if engine.readable == "redis":
            with Redis.from_url(self._redis) as redis:
                redis.flushall()
        try:
            yield Site(own, job, folder / "log")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _started(self, engine: Engine | Ours, site: Site) -> Iterator[Running]:
        """A process of the engine, killed at the end of the block."""
        running = engine.start(site)
        with self._testbed.watched(running.process):
            try:
                yield running
            finally:
                running.kill()


async def _until_published(job: Job, events: int) -> None:
    """Wait until so many events are in the topic."""
    while True:
        ends = await ends_of(job.broker, job.topic, job.partitions)
        if sum(ends.values()) >= events:
            return
        await asyncio.sleep(ENDS_EVERY_S)


async def _create_topic(job: Job) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=job.broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(job.output, 1, 1)])
    finally:
        await admin.close()


async def _add_users(redis_url: str) -> None:
    accounts = Accounts.connect(Settings(redis=redis_url))
    try:
        for user in (USER, *(f"u{at + 1}" for at in range(USERS))):
            await accounts.add_user(user, "UTC", TOKEN)
    finally:
        await accounts.close()
