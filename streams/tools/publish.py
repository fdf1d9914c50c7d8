"""Publishing events to Kafka at a pace: those of a log (``ecounters replay``) or simulated ones (``simulate``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import BinaryIO, Final

import orjson

from streams.basics.blocks import BlockReader
from streams.basics.terminal import Progress
from streams.basics.times import epoch_ms, moment_ms
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Outgoing, Publisher, publisher

SEND_AFTER_S: Final = 0.1
"""So long a batch waits at most for a log's lines that have not come yet: a batch for each line would be slow."""


async def publish(
    messages: Iterable[Outgoing], kafka: Kafka, topic: str, wait_s: Callable[[int], float], progress: Progress
) -> None:
    """Publish messages in order, each when it is due, and return when Kafka has acknowledged all of them.

    ``wait_s``: a message's time in ms -> seconds to wait; 0 or less publishes at once. A message without a time is
    published at once too. ``progress`` counts the records. Raises KafkaError.
    """
    async with publisher(kafka, topic) as publishing:
        await _put(messages, publishing, wait_s, progress)


async def publish_log(
    file: BinaryIO, kafka: Kafka, topic: str, wait_s: Callable[[int], float], progress: Progress
) -> None:
    """Publish the lines of a file or pipe as ``publish`` does.

    If lines come slowly, each is published SEND_AFTER_S later at most. Raises KafkaError, and OSError if the file
    cannot be read.
    """
    async with publisher(kafka, topic) as publishing, aclosing(_lines(file, publishing)) as parts:
        async for lines in parts:
            await _put(read_log(lines), publishing, wait_s, progress)


async def _lines(file: BinaryIO, publishing: Publisher) -> AsyncGenerator[list[bytes]]:
    """Yield the lines of a file in lists. Sends what was published if it has to wait for more lines."""
    reader, begun, sent_at = BlockReader(file), list[bytes](), time.monotonic()
    try:
        asked = reader.ask()
        while True:
            await asyncio.sleep(0)  # a block that has come is known in the loop's next round
            if not asked.done():
                await asyncio.wait([asked], timeout=SEND_AFTER_S)
                if not asked.done() or time.monotonic() - sent_at > SEND_AFTER_S:
                    await publishing.send()
                    sent_at = time.monotonic()
            block = await asked
            if not block:
                break
            asked = reader.ask()  # it is read while this one is published
            whole, line_break, rest = block.rpartition(b"\n")
            if line_break:
                yield b"".join([*begun, whole]).split(b"\n")
                begun = []
            begun.append(rest)
        yield [b"".join(begun)]
    finally:
        reader.close()


async def _put(
    messages: Iterable[Outgoing], publishing: Publisher, wait_s: Callable[[int], float], progress: Progress
) -> None:
    """Publish messages, each when it is due. What was published before is sent before a wait."""
    for message in messages:
        if message.due_ms is not None and (seconds := wait_s(message.due_ms)) > 0:
            await publishing.send()
            await asyncio.sleep(seconds)
        progress.add(await publishing.put(message))


def read_log(lines: Iterable[bytes]) -> Iterator[Outgoing]:
    """The lines of a log as messages, one event a line. Empty lines are skipped.

    A switch.restarted without a userId becomes a message for all partitions. A line that is no event becomes a message
    too: workers make a dead letter of it.
    """
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
        yield Outgoing(value, key, everywhere, _due_ms(event.get("ts")))


def _due_ms(ts: object) -> int | None:
    """An event's ``ts`` in ms, by which a replay keeps pace; None if ``ts`` is no time."""
    if isinstance(ts, int):
        return ts
    if not isinstance(ts, str):
        return None
    at_ms = epoch_ms(ts)
    return moment_ms(ts) if at_ms is None else at_ms


def at_speed(speed: float, clock: Callable[[], float] = time.monotonic) -> Callable[[int], float]:
    """The pace of a log, as ``wait_s`` of ``publish``. 1: as it was recorded; 2: twice as fast; 0: never wait.

    The first message's time is the start. A message whose time has passed already is published at once. ``clock``:
    monotonic seconds.
    """
    start: tuple[int, float] | None = None  # (the first message's time in ms, the clock then in s)

    def wait_s(at_ms: int) -> float:
        nonlocal start
        if not speed:
            return 0.0
        if start is None:
            start = at_ms, clock()
        return (at_ms - start[0]) / 1000 / speed - (clock() - start[1])

    return wait_s


def by_the_clock(at_ms: int) -> float:
    """The pace of live events, as ``wait_s`` of ``publish``: no event is published before its own time."""
    return at_ms / 1000 - time.time()
