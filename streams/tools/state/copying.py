"""Publishes events that were not counted before a state was moved, where no worker would find them any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from math import gcd

import orjson

from ecounters.changelog.binding import EventsLog
from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from streams.basics.terminal import Progress
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import KeyedRow, keyed_reader
from streams.kafka.publisher import publisher
from streams.settings.table import Settings
from streams.tools.state.target import topics_of


async def copy_rest(settings: Settings, old: EventsLog, ends: Sequence[int], new: EventsLog, copy_from: str) -> int:
    """Publish what the old topic has behind ``ends`` to the partitions of the new one. Returns how many records.

    To do so twice changes no counter. Raises Stop if ``copy_from`` is not the topic that the state has counted.
    """
    facts = await topics_of(settings, copy_from)
    found = facts.topics.get(copy_from)
    if found is None or (facts.cluster_id, copy_from, found.topic_id) != (old.cluster, old.topic, old.topic_id):
        raise Stop(
            f"--copy-rest {copy_from}: the state has counted {old.topic} (id {old.topic_id or '-'}) of cluster "
            f"{old.cluster or '-'}, and there is no such topic here"
        )
    if old.topic == new.topic:
        raise Stop(f"--copy-rest {copy_from}: it is the topic of events itself")
    copied, progress = 0, Progress("copied")
    async with publisher(Kafka.of(settings), new.topic) as publishing:
        async for partition, rows in _rest(settings, old, ends):
            for _, key, value in rows:
                for target in targets(value, partition, old.partitions, new.partitions):
                    await publishing.put_to(target, key, value)
                    copied += 1
            progress.add(len(rows))
    progress.end()
    return copied


async def spread_restarts(settings: Settings, old: EventsLog, ends: Sequence[int], new: EventsLog) -> None:
    """Publish events without a user that were not counted yet to the partitions that were added to their topic.

    A switch.restarted without a user is in each partition that there was. What follows it counts on workers, so the
    accounts that go to a new partition need it there as well. Events with a user are published again by the workers.
    """
    async with publisher(Kafka.of(settings), new.topic) as publishing:
        async for partition, rows in _rest(settings, old, ends):
            for _, key, value in rows:
                if not _is_restart(value):
                    continue
                for target in targets(value, partition, old.partitions, new.partitions):
                    if target >= old.partitions:
                        await publishing.put_to(target, key, value)


def targets(value: bytes | None, partition: int, old: int, new: int) -> Sequence[int]:
    """The new partitions that a record of an old partition is for: that of its user; without a user, see below.

    An event without a user goes to all partitions that accounts of the old one can come to. What is no event goes to
    one of them: it becomes a dead letter there.
    """
    event = _event(value)
    user_id = event.get("userId")
    if isinstance(user_id, str) and user_id:
        return (partition_of(user_id, new),)
    if event.get("type") == "switch.restarted":
        step = gcd(old, new)
        return range(partition % step, new, step)
    return (partition % new,)


def _is_restart(value: bytes | None) -> bool:
    event = _event(value)
    return event.get("type") == "switch.restarted" and not event.get("userId")


def _event(value: bytes | None) -> dict[str, object]:
    try:
        event = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}


async def _rest(settings: Settings, old: EventsLog, ends: Sequence[int]) -> AsyncIterator[tuple[int, list[KeyedRow]]]:
    """(partition, rows) of what the topic ``old`` has behind ``ends`` now."""
    async with keyed_reader(Kafka.of(settings), old.topic) as reader:
        for partition, end in enumerate(ends):
            reader.skip_to(partition, end)
            async for rows in reader.up_to(partition, reader.ends[partition]):
                yield partition, rows
