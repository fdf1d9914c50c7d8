"""Publishing events: a log of them (``ecounters replay``) or made-up ones (``ecounters simulate``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

import orjson

from streams.basics.terminal import Progress
from streams.basics.times import epoch_ms, moment_ms
from streams.kafka.publisher import Outgoing, publisher


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
    at_ms = epoch_ms(ts)
    return moment_ms(ts) if at_ms is None else at_ms


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
