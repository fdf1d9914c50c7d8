"""Fakes around an owned partition: the topic of events, the changelog and its writer. No broker is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import Entry
from ecounters.changelog.holes import Holes
from ecounters.events.partitioner import partition_of
from ecounters.partition.policy import Policy
from ecounters.partition.records import Uncounted
from ecounters.partition.state import PartitionState
from streams.basics.slices import TimeSlices
from streams.engine.context import WorkerContext
from streams.engine.partition import OwnedPartition
from streams.engine.topics_watch import Topics, TopicsWatch
from streams.kafka.batches import Batch
from streams.kafka.changelog_reader import ChangelogReaders
from streams.kafka.changelog_writer import LeftOut
from streams.kafka.clients import Kafka
from streams.kafka.metadata import ClusterFacts, TopicFacts
from streams.kafka.outbox import Outbox
from streams.kafka.shared_clients import SharedClients
from streams.kafka.splitting import split
from streams.metrics.catalogue import Metrics
from streams.settings.narrow import ChangelogSettings, FeedSettings, FlushSettings, PartitionSettings
from tests.support.builders import Event, encoded, event, restored
from tests.support.record_batches import BY_BROKER
from tests.support.record_batches import batch as record_batch

PARTITION = 1
PARTITIONS = 4
WAIT_S = 5.0
LOG = EventsLog("", "events", "", PARTITIONS)
BINDING = Binding(LOG, "1.0")
NEVER_MS = 3_600_000
"""A flush interval that does not end within a test."""


def user_of(partition: int) -> str:
    """A user id whose events belong to that partition."""
    return next(user for user in map("u{}".format, range(1_000)) if partition_of(user, PARTITIONS) == partition)


USER = user_of(PARTITION)


def balances(begin: int, count: int, user: str = USER) -> list[Event]:
    """Events that are all counted: the user's balance is the offset of the last one."""
    return [event("balance.updated", at, user, balance=at) for at in range(begin, begin + count)]


def batch(begin: int, events: Iterable[Event], *, end: int | None = None) -> Batch:
    """A batch of events that follow one another from offset ``begin`` on."""
    values = [encoded(one) for one in events]
    sent = bytes(record_batch(begin, values, attributes=BY_BROKER)) if values else b""
    reached = begin + len(values)
    return Batch(begin, end or reached, (end or reached) - reached, 0, split(sent, reached).batches)


class FakeEvents:
    """The topic of events: says what it is told to say, and notes what is asked of it."""

    def __init__(self) -> None:
        self.rebalancing = False
        self.earliest = 0
        self.end = 0
        self.age_s: float | None = 0.0
        self.followed: list[tuple[int, int]] = []
        self.republished: list[Uncounted] = []
        self.takes_bytes = 2**31
        self.takes_nothing: Exception | None = None
        self.fail: Exception | None = None

    async def offsets(self, partition: int) -> tuple[int, int]:
        """``earliest`` and ``end``, or the error ``fail``."""
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        return self.earliest, self.end

    async def follow(self, partition: int, offset: int) -> None:
        """Notes (partition, offset)."""
        self.followed.append((partition, offset))

    def end_of(self, partition: int) -> tuple[int | None, float | None]:
        """``end`` and ``age_s``."""
        return self.end, self.age_s

    async def republish(self, misrouted: list[Uncounted]) -> list[Uncounted]:
        """Notes the events, and says that those with more than ``takes_bytes`` are too large. Or ``takes_nothing``."""
        await asyncio.sleep(0)
        if self.takes_nothing is not None:
            raise self.takes_nothing
        self.republished += misrouted
        large = [one for one in misrouted if len(one.record.value or b"") > self.takes_bytes]
        return [replace(one, reason="too_large") for one in large]


class FakeFacts:
    """What a broker says of the topics: both are as LOG, until a test changes ``now``. ``asked``: how often."""

    def __init__(self) -> None:
        topic = TopicFacts("", PARTITIONS, 1, None)
        self.now = ClusterFacts("", {LOG.topic: topic, "changelog": topic})
        self.asked = 0

    async def ask(self) -> ClusterFacts:
        """``now``."""
        self.asked += 1
        return self.now


def watch(facts: FakeFacts, fail: Callable[[BaseException], Awaitable[None]], metrics: Metrics) -> TopicsWatch:
    """A watch over the topics that ``facts`` tells of, without pauses."""
    return TopicsWatch(Topics(LOG, "changelog", ""), facts.ask, fail, metrics, spacing_s=0)


class FakeBatch:
    """A batch of a producer that is never full."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def append(self, **message: Any) -> object:
        """Notes the message; not None: there was room for it."""
        self.messages.append(message)
        return self

    def size(self) -> int:
        """The length of all values."""
        return sum(len(message["value"] or b"") for message in self.messages)

    def record_count(self) -> int:
        """How many messages there are."""
        return len(self.messages)


class FakeWriter:
    """A writer whose transactions always commit, or fail with the error ``fail``; ``before`` runs in each."""

    def __init__(self) -> None:
        self.written: list[Outbox] = []
        self.left_out: list[LeftOut] = []
        self.refused = ""
        self.fail: BaseException | None = None
        self.before: Callable[[], object] = lambda: None

    async def begin_with_dead_letters(self) -> str:
        """``refused``."""
        await asyncio.sleep(0)
        return self.refused

    def outbox(self) -> Outbox:
        """An empty outbox of fake batches."""
        return Outbox(FakeBatch)

    async def write(self, outbox: Outbox) -> list[LeftOut]:
        """Notes the outbox, and returns ``left_out``."""
        self.before()
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        self.written.append(outbox)
        return self.left_out


class FakeChangelog:
    """A changelog that restores a bound state at offset ``position``, with a new writer each time.

    ``entries``: what the state is restored from; it is empty without any.
    """

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.binding: Binding | None = BINDING
        self.writers: list[FakeWriter] = []
        self.failures: list[Exception] = []
        self.closed = 0
        self.entries: list[Entry] = []
        self.read_ratio = 0.0
        self.followed_entries = 0

    @property
    def writer(self) -> FakeWriter | None:
        """The last restore's."""
        return self.writers[-1] if self.writers else None

    async def restore(self) -> tuple[PartitionState, int]:
        """The state; an error first, for each of ``failures``."""
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.writers.append(FakeWriter())
        state = restored(self.entries, PARTITION, PARTITIONS)
        state.position, state.binding = self.position, self.binding
        return state, 0

    async def has_changed(self) -> bool:
        """Somebody has always written to it."""
        await asyncio.sleep(0)
        return True

    async def close(self) -> None:
        """Counts."""
        self.closed += 1


class FakeHandover:
    """Notes what is announced. ``shown``: what the owner before replies, one reply after the other; then 0.

    ``fail``: the error that is raised instead.
    """

    def __init__(self) -> None:
        self.announced: list[tuple[int, int]] = []
        self.shown: list[int] = []
        self.fail: Exception | None = None

    async def announce(self, partition: int, position: int) -> int:
        """The next of ``shown``."""
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        self.announced.append((partition, position))
        return self.shown.pop(0) if self.shown else 0


@dataclass(slots=True)
class PartitionFixture:
    """An owned partition among fakes. ``failed``: the errors for which it would have ended the worker. ``holes``: those
    that a test has noted before the release."""

    partition: OwnedPartition
    context: WorkerContext
    facts: FakeFacts
    events: FakeEvents
    changelog: FakeChangelog
    metrics: Metrics
    handover: FakeHandover
    failed: list[BaseException] = field(default_factory=list)
    holes: Holes = ()

    @property
    def state(self) -> PartitionState:
        """The partition's state, which must be there."""
        state = self.partition.status.state
        assert state is not None
        return state

    @property
    def writer(self) -> FakeWriter:
        """The writer of the last restore."""
        writer = self.changelog.writer
        assert writer is not None
        return writer

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the tasks run until the condition holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - the condition is of fakes, which have no events
                await asyncio.sleep(0.001)


def new_fixture(
    *, position: int = 0, interval_ms: int = NEVER_MS, bytes_max: int = 1_000_000, slice_ms: int = 10
) -> PartitionFixture:
    """A partition that has not been started."""
    settings = PartitionSettings(
        PARTITIONS,
        Policy(),
        ChangelogSettings("test", "changelog", "dlq"),
        FlushSettings(interval_ms, bytes_max),
        FeedSettings("events", stale_after_ms=10_000, heartbeat_s=0.0),
    )
    events, changelog, metrics = FakeEvents(), FakeChangelog(position), Metrics.create(CollectorRegistry())
    facts = FakeFacts()
    failed: list[BaseException] = []

    async def fail(error: BaseException) -> None:
        failed.append(error)

    topics = watch(facts, fail, metrics)
    clients, readers = SharedClients(Kafka("nowhere:1")), ChangelogReaders(Kafka("nowhere:1"))
    handover, slices = FakeHandover(), TimeSlices(slice_ms)
    context = WorkerContext(settings, BINDING, metrics, topics, events, fail, slices, clients, readers, handover)
    events.end = position
    partition = OwnedPartition(PARTITION, context, changelog)
    return PartitionFixture(partition, context, facts, events, changelog, metrics, handover, failed)


@asynccontextmanager
async def live_fixture(**options: int) -> AsyncIterator[PartitionFixture]:
    """A partition that has been restored; it is released at the end."""
    fixture = new_fixture(**options)
    fixture.partition.start()
    await fixture.until(lambda: fixture.partition.status.live and fixture.events.followed)
    try:
        yield fixture
    finally:
        await fixture.partition.release()


def on_live(work: Callable[[PartitionFixture], Awaitable[None]], **options: int) -> None:
    """Run the work with a partition that has been restored."""

    async def run() -> None:
        async with live_fixture(**options) as fixture:
            await work(fixture)

    asyncio.run(run())
