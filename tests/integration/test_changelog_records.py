"""What restores and standbys read of a changelog: packed, aborted and damaged record batches."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import CorruptRecordException

from ecounters.changelog.entries import Entry
from streams.basics.slices import Slice, TimeSlices
from streams.kafka import batches, changelog_follower, changelog_reader
from streams.kafka.changelog_follower import ChangelogFollower
from streams.kafka.changelog_reader import ChangelogReaders
from streams.kafka.clients import Kafka
from streams.kafka.fetched import prepare
from streams.kafka.record_batches import RecordBatch
from tests.support.bad_wire import BadWire
from tests.support.record_batches import batch, produce_raw, with_crc
from tests.support.topics import filled_topic

RECORDS: Final = 150
"""How many records a record batch has: more than a list."""
LIMIT_S: Final = 8.0
"""The limit of each reading. What is damaged must be an error at once: a fetch may take 15 s."""
WIRE_FIRST, WIRE_LAST, WIRE_LENGTH = 61, -1, 8
"""A byte of the first record, one of the last record, and the first of the first record batch's length."""

Read = Callable[[str, TopicPartition, TimeSlices, list[Entry]], Coroutine[Any, Any, None]]


async def restore(broker: str, tp: TopicPartition, slices: TimeSlices, found: list[Entry]) -> None:
    """Add all entries to ``found`` as a restore does."""
    async with aclosing(ChangelogReaders(Kafka(broker)).read(tp, slices)) as reading:
        async for entries in reading:
            found += entries


async def follow(broker: str, tp: TopicPartition, slices: TimeSlices, found: list[Entry]) -> None:
    """Add all entries to ``found`` as a standby does, up to the end that the broker tells."""
    follower = ChangelogFollower(Kafka(broker), tp.topic)
    await follower.start()
    try:
        reached = (await follower.assign([tp.partition], {}))[tp.partition]
        while (end := follower.end_of(tp.partition)[0]) is None or reached < end:
            if (fetched := await follower.next(LIMIT_S)) is None:
                continue
            if fetched.error is not None:
                raise fetched.error
            async for run in fetched.runs():
                async with Slice(slices):
                    for entries in run:
                        found += entries
            reached = fetched.next_offset or reached
            fetched.done()
    finally:
        await follower.stop()


async def in_time(read: Read, broker: str, tp: TopicPartition, found: list[Entry]) -> None:
    """``read`` within LIMIT_S."""
    async with asyncio.timeout(LIMIT_S):
        await read(broker, tp, TimeSlices(10), found)


def values(prefix: bytes) -> list[bytes]:
    """The values of a record batch."""
    return [b"%s%d" % (prefix, at) for at in range(RECORDS)]


def without_keys(those: Sequence[bytes]) -> list[Any]:
    """The entries of a topic that ``filled_topic`` has made: its records have no keys."""
    return [(None, value) for value in those]


def damage(monkeypatch: pytest.MonkeyPatch, times: int, position: int) -> None:
    """Let every restore and standby read over a BadWire from now on."""

    def over_bad_wire(consumer: Any, **options: Any) -> None:
        consumer._fetcher._client = BadWire(consumer._fetcher._client, times, position)
        prepare(consumer, **options)

    for module in (changelog_reader, changelog_follower):
        monkeypatch.setattr(module, "prepare", over_bad_wire)


both = pytest.mark.parametrize("read", [restore, follow])


@both
@pytest.mark.parametrize("codec", [None, "gzip", "lz4"])
def test_what_is_committed_is_read_whatever_it_is_packed_with(
    broker: str, monkeypatch: pytest.MonkeyPatch, read: Read, codec: str | None
) -> None:
    """Nothing of aborted transactions is read, and the reading ends, though the log ends with one. No time slice is
    held while something is unpacked."""
    slices, held, unpacked = TimeSlices(10), list[bool](), batches._unpacked

    def watched(packed: Sequence[RecordBatch]) -> list[RecordBatch]:
        held.append(slices._is_held)
        return unpacked(packed)

    monkeypatch.setattr(batches, "_unpacked", watched)

    async def run() -> None:
        tp, found, wanted = TopicPartition(await filled_topic(broker, 1, []), 0), list[Entry](), list[Entry]()
        options: dict[str, Any] = {"compression_type": codec, "transactional_id": uuid.uuid4().hex}
        async with AIOKafkaProducer(bootstrap_servers=broker, **options) as producer:
            for name, commits in ((b"a", True), (b"b", False), (b"c", True), (b"d", False)):
                await producer.begin_transaction()
                for value in values(name):
                    await producer.send(tp.topic, value, name, tp.partition)
                await (producer.commit_transaction() if commits else producer.abort_transaction())
                wanted += [(name, value) for value in values(name)] if commits else []
        async with asyncio.timeout(LIMIT_S):
            await read(broker, tp, slices, found)
        assert found == wanted
        assert set(held) == ({False} if codec else set())

    asyncio.run(run())


@both
def test_a_record_with_a_foreign_header_is_read(broker: str, read: Read) -> None:
    """Kafka takes a header whose name is not UTF-8, and aiokafka does not read it."""
    content = batch(0, [b"a", b"b"], headers=[("name", b"x")])
    content[content.index(b"name")] = 0xFF

    async def run() -> None:
        tp, found = TopicPartition(await filled_topic(broker, 1, []), 0), list[Entry]()
        await produce_raw(broker, tp, bytes(with_crc(content)))
        await in_time(read, broker, tp, found)
        assert found == [(b"u1", b"a"), (b"u1", b"b")]

    asyncio.run(run())


@both
@pytest.mark.parametrize(
    ("position", "sound", "why"),
    [
        (WIRE_FIRST, 0, "it is not what its checksum says"),
        (WIRE_LAST, RECORDS, "it is not what its checksum says"),
        (WIRE_LENGTH, 0, "what was fetched from offset 0 on are no records"),  # a length below 0
        (WIRE_LENGTH + 1, 0, "what was fetched from offset 0 on are no records"),  # one of 8 MiB too much
    ],
)
def test_what_is_damaged_is_an_error_at_once_and_sound_when_it_is_read_again(
    broker: str, monkeypatch: pytest.MonkeyPatch, read: Read, position: int, sound: int, why: str
) -> None:
    """The error names the partition. The ``sound`` records before the damage are read, and none of it or behind it."""

    async def run() -> None:
        tp = TopicPartition(await filled_topic(broker, 1, [values(b"a"), values(b"b")]), 0)
        found, again, wanted = list[Entry](), list[Entry](), without_keys(values(b"a") + values(b"b"))
        with monkeypatch.context() as patched, pytest.raises(CorruptRecordException) as raised:
            damage(patched, 1_000_000, position)
            await in_time(read, broker, tp, found)
        assert f"{tp.topic}, partition 0: {why}" in str(raised.value)
        assert found == wanted[:sound]
        await in_time(read, broker, tp, again)
        assert again == wanted

    asyncio.run(run())


def test_a_standby_goes_on_over_its_connection_after_bytes_that_are_no_records(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partition is fetched again from the same offset, once it has been told of the error."""
    damage(monkeypatch, 1, WIRE_LENGTH)

    async def run() -> None:
        tp = TopicPartition(await filled_topic(broker, 1, [values(b"a")]), 0)
        follower = ChangelogFollower(Kafka(broker), tp.topic)
        await follower.start()
        try:
            await follower.assign([0], {})
            errors, found = list[bool](), list[Entry]()
            async with asyncio.timeout(LIMIT_S):
                while not found:
                    if (fetched := await follower.next(LIMIT_S)) is None:
                        continue
                    errors.append(isinstance(fetched.error, CorruptRecordException))
                    found += [entry async for run in fetched.runs() for entries in run for entry in entries]
                    fetched.done()
        finally:
            await follower.stop()
        assert (errors, found) == ([True, False], without_keys(values(b"a")))

    asyncio.run(run())
