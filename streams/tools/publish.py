"""Publishing events: a log of them (``ecounters replay``) or made-up ones (``ecounters simulate``)."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple, TextIO

import orjson
from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of

BATCH_BYTES: Final = 262_144
"""Large batches are what makes a replay quick; one for each partition is being filled while another is under way."""

REQUEST_BYTES_MAX: Final = 1_048_576
ROUTES_KEPT_MAX: Final = 100_000
"""Users whose partition is remembered; murmur2 costs more than all else that is done for an event."""

PROGRESS_TTY_S: Final = 0.5
PROGRESS_LOG_S: Final = 10.0
"""A terminal's line is written over; a file gets a new one each time."""


class Outgoing(NamedTuple):
    """A message to publish. ``user_id``: its key, or None; ``everywhere``: once to each partition. ``due_ms``: its
    time, or None if it has none."""

    value: bytes
    user_id: str | None
    everywhere: bool
    due_ms: int | None


class Publisher:
    """Publishes in order within each partition, with as much under way as the broker takes."""

    def __init__(self, producer: Any, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._batches: dict[int, Any] = {}
        self._under_way: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None
        self._routes: dict[str, int] = {}
        self._keyless = itertools.cycle(range(partitions))

    async def put(self, message: Outgoing) -> int:
        """Take over a message; how many were made of it. Raises aiokafka's KafkaError, also for earlier ones."""
        if message.everywhere:
            for partition in range(self._partitions):
                await self._append(partition, None, message.value)
            return self._partitions
        if message.user_id is None:
            await self._append(next(self._keyless), None, message.value)
        else:
            await self._append(self._route(message.user_id), message.user_id.encode(), message.value)
        return 1

    async def put_to(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Take over a message for that partition, with that key. Raises as ``put``."""
        await self._append(partition, key, value)

    def _route(self, user_id: str) -> int:
        partition = self._routes.get(user_id)
        if partition is None:
            if len(self._routes) >= ROUTES_KEPT_MAX:
                self._routes.clear()
            partition = self._routes[user_id] = partition_of(user_id, self._partitions)
        return partition

    async def _append(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        batch = self._batches.get(partition)
        if batch is None:
            batch = self._batches[partition] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None) is None:
            await self._send(partition)
            batch = self._batches[partition] = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)  # the first always fits

    async def _send(self, partition: int) -> None:
        if self._failure is not None:
            raise self._failure
        batch = self._batches.pop(partition)
        batch.close()
        # Waits while the one before it has not gone out: that is what holds back the reading.
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._under_way.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._under_way.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self._failure = self._failure or future.exception()

    async def send(self) -> None:
        """Let everything that was taken over go out."""
        for partition in list(self._batches):
            await self._send(partition)

    async def finish(self) -> None:
        """Wait until everything is acknowledged, or raise the first failure."""
        await self.send()
        if self._under_way:
            await asyncio.wait(list(self._under_way))
        await asyncio.sleep(0)  # the callbacks of what has just ended
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def publisher(broker: str, topic: str) -> AsyncIterator[Publisher]:
    """A Publisher; when the block ends well, everything has been acknowledged."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, acks="all", max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES_MAX
    )
    try:
        await producer.start()
        publishing = Publisher(producer, topic, len(await producer.partitions_for(topic)))
        yield publishing
        await publishing.finish()
    finally:
        await producer.stop()


class Progress:
    """A line on stderr that says how far a command is. ``verb``: "published"; ``what``: of these."""

    def __init__(self, verb: str, to: TextIO | None = None, what: str = "events") -> None:
        self._to = to if to is not None else sys.stderr
        self._tty = self._to.isatty()
        self._verb = verb
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
        self.count = 0

    def add(self, count: int) -> None:
        """So many more; says so now and then."""
        self.count += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
            self._to.write(self._line(now) + ("\r" if self._tty else "\n"))
            self._to.flush()

    def end(self) -> None:
        """The last line."""
        self._to.write(self._line(time.monotonic()) + "\n")
        self._to.flush()

    def _line(self, now: float) -> str:
        seconds = max(now - self._began, 1e-3)
        return f"{self._verb} {self.count:,} {self._what} in {seconds:,.1f} s, {self.count / seconds:,.0f}/s"


async def publish(
    messages: Iterable[Outgoing], broker: str, topic: str, wait_s: Callable[[int], float], progress: Progress
) -> None:
    """Publish messages, each when it is due. ``wait_s``: how long until a time is due; not above 0: now."""
    async with publisher(broker, topic) as publishing:
        for message in messages:
            if message.due_ms is not None and (seconds := wait_s(message.due_ms)) > 0:
                await publishing.send()
                await asyncio.sleep(seconds)
            progress.add(await publishing.put(message))


def read_log(lines: Iterable[bytes]) -> Iterator[Outgoing]:
    """A log, one event a line, as messages. A line that is no event goes on as it is, for the dead letters."""
    for line in lines:
        value = line.strip()
        if not value:
            continue
        try:
            event = orjson.loads(value)
        except orjson.JSONDecodeError:
            event = None
        event = event if isinstance(event, dict) else {}
        user_id = event.get("userId")
        everywhere = event.get("type") == "switch.restarted" and not user_id
        key = user_id if isinstance(user_id, str) and user_id else None
        yield Outgoing(value, key, everywhere, _time_of(event.get("ts")))


def _time_of(ts: object) -> int | None:
    """An event's ``ts`` in ms, only to keep pace by; None if it cannot be told."""
    if isinstance(ts, int):
        return ts
    if not isinstance(ts, str):
        return None
    try:
        return int(ts) if ts.isdigit() else int(datetime.fromisoformat(ts).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def at_speed(speed: float, clock: Callable[[], float] = time.monotonic) -> Callable[[int], float]:
    """A log's pace: ``wait_s`` for ``publish``. 1: as it was recorded, 2: twice as fast, 0: do not wait at all.

    A log whose times jump back (late events) does not wait for them; one that begins anew is not waited for.
    """
    first: tuple[int, float] | None = None

    def wait_s(at_ms: int) -> float:
        nonlocal first
        if not speed:
            return 0.0
        if first is None:
            first = at_ms, clock()
        return (at_ms - first[0]) / 1000 / speed - (clock() - first[1])

    return wait_s


def by_the_clock(at_ms: int) -> float:
    """The pace of what happens now: nothing is published before its time."""
    return at_ms / 1000 - time.time()
