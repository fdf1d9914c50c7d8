"""Record batches that cannot be read: each is one dead letter, and all other events are counted."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from ecounters.events.partitioner import partition_of
from streams.kafka.unpacking import UNPACKED_BYTES_MAX
from tests.support.accounts import add_users
from tests.support.audits import audited, ran
from tests.support.builders import encoded, event
from tests.support.kafka_cluster import Cluster
from tests.support.loop_pauses import LAUNCHER, longest_step
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.record_batches import batch, produce_raw, with_crc
from tests.support.topics import read_topic, wait_until_flushed
from tests.support.workers import ROOT, Deployment, Worker

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
CALLS = 20
HEADER_BYTES = 61
BUSY_MAX = 4.0
"""In units of ``Step.busy``, of some 13 ms: 250,000 dead letters of one batch take 0.9; 2 beside other processes."""
TIMES = 3

pytestmark = pytest.mark.usefixtures("no_users")
on_apache_kafka = pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker has no log segments"
)
on_embedded = pytest.mark.skipif(
    bool(os.environ.get("ECOUNTERS_TEST_BROKER")), reason="Apache Kafka refuses such record batches"
)


def calls_of(prefix: str, count: int = CALLS) -> list[bytes]:
    """The events of so many answered calls of u1: four each."""
    made = [RecentCall(f"{prefix}{at}", "u1").started(0, "IBD") for at in range(count)]
    return [value for one in made for value in one.ringing(1).answered(2).ended(9, 3).values()]


def send(deployment: Deployment, values: list[bytes], codec: str | None = None) -> None:
    """Publish messages of u1 in one record batch."""

    async def publish() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=deployment.broker,
            compression_type=codec,
            max_batch_size=64 * 1_048_576,
            max_request_size=64 * 1_048_576,
            linger_ms=100,
        )
        await producer.start()
        try:
            partition = partition_of("u1", deployment.partitions)
            await asyncio.gather(*[await producer.send(deployment.name, value, b"u1", partition) for value in values])
        finally:
            await producer.stop()

    asyncio.run(publish())


def u1_of(deployment: Deployment) -> TopicPartition:
    """The partition of u1."""
    return TopicPartition(deployment.name, partition_of("u1", deployment.partitions))


def unreadable(deployment: Deployment) -> list[tuple[int, int, bytes | None]]:
    """(first offset, last offset, message) of each dead letter; all of them are of record batches."""
    letters = asyncio.run(read_topic(deployment.broker, f"{deployment.name}.dlq", "read_committed"))
    found = []
    for letter in (one for records in letters.values() for one in records):
        headers = dict(letter.headers)
        assert headers["reason"] == b"unreadable"
        assert int(headers["partition"]) == partition_of("u1", deployment.partitions)
        found.append((int(headers["offset"]), int(headers["last_offset"]), letter.value))
    return sorted(found, key=lambda row: row[0])


def assert_known_everywhere(deployment: Deployment, worker: Worker, total: int, spans: list[tuple[int, int]]) -> None:
    """Worker, audit, explain and dlq agree on the calls, and on the offsets that cannot be read."""
    wait_for_counter(worker, "u1", "TC", total)
    wait_until_flushed(deployment)
    assert [row[:2] for row in unreadable(deployment)] == spans
    assert worker.metric("ecounters_events_refused_total") == len(spans)
    exit_code, lines, err = audited(deployment, worker)
    assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (lines, err)
    for where in (err, ran(deployment, "explain", "--user", "u1", "--counter", "TC")[2]):
        assert [(int(a), int(b)) for a, b in re.findall(r"offsets (\d+) to (\d+) cannot be read", where)] == spans
    command = [sys.executable, "-m", "streams.cli", "dlq", "--replay", "--yes"]
    shown = subprocess.run(command, cwd=ROOT, env=deployment.environment(), capture_output=True, text=True, check=True)
    for first, last in spans[-3:]:
        assert f"/{first}-{last}  " in shown.stdout
    assert f"{len(spans)} are truncated, or could not be read at all, and were left out." in shown.stderr


def test_record_batches_that_unpack_to_too_much_are_dead_letters(deployment: Deployment) -> None:
    """One of each codec, between good events: the worker is ready and answers all the while."""
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as worker:
        spans = []
        for at, codec in enumerate(CODECS):
            send(deployment, [bytes(UNPACKED_BYTES_MAX)], codec)
            spans.append((5 * at, 5 * at))
            publish_values(deployment, "u1", *calls_of(codec, 1))
        assert_known_everywhere(deployment, worker, len(CODECS), spans)
        for _, _, value in unreadable(deployment):
            assert value is not None and len(value) > HEADER_BYTES


def garbage(made: bytearray) -> bytearray:
    """The record batch with a body that no codec unpacks."""
    made[HEADER_BYTES:] = b"\xff" * len(made[HEADER_BYTES:])
    return made


def undecodable(made: bytearray) -> bytearray:
    """The record batch with a last record that is longer than the bytes that are there."""
    made[-1] = 0x7F
    return made


BROKEN: list[Callable[[], tuple[bytearray, int]]] = [
    *(lambda codec=codec: (garbage(batch(0, [b"a" * 200] * 3, codec)), 3) for codec in CODECS.values()),
    lambda: (garbage(batch(0, [b"a" * 200] * 3, 0, attributes=5)), 3),
    lambda: (undecodable(batch(0, [b"a"])), 1),
]


@on_embedded
@pytest.mark.parametrize("make", BROKEN, ids=[*CODECS, "a codec that there is not", "a record"])
def test_record_batches_with_garbage_are_dead_letters(
    deployment: Deployment, make: Callable[[], tuple[bytearray, int]]
) -> None:
    """The message is the record batch as it came, byte for byte but for what the broker writes into its header."""
    add_users(deployment, ["u1"])
    content, count = make()
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "u1", *calls_of("a", 1))
        asyncio.run(produce_raw(deployment.broker, u1_of(deployment), bytes(with_crc(content))))
        publish_values(deployment, "u1", *calls_of("b", 1))
        assert_known_everywhere(deployment, worker, 2, [(4, 4 + count - 1)])
        ((_, _, value),) = unreadable(deployment)
        assert value is not None and value[HEADER_BYTES:] == bytes(content)[HEADER_BYTES:]


@on_apache_kafka
def test_record_batches_that_a_disk_has_damaged_are_dead_letters(redis_url: str, tmp_path: Path) -> None:
    """In the log segment of a stopped broker one body becomes garbage with a right checksum, another gets one wrong
    bit. The state is restored, and the log is counted behind both."""
    with Cluster(tmp_path / "kafka") as kafka:
        deployment = Deployment(kafka.address, redis_url, tmp_path, settings={"FLUSH_INTERVAL_MS": 200})
        deployment.create_topics()
        add_users(deployment, ["u1"])
        for prefix, codec in (("a", None), ("b", "gzip"), ("c", None), ("d", None), ("e", "zstd")):
            send(deployment, calls_of(prefix), codec)
        kafka.stop(1)
        topic = f"{deployment.name}-{partition_of('u1', deployment.partitions)}"
        damage(kafka.directory / "node-1" / topic / "00000000000000000000.log", {1: with_garbage, 3: with_wrong_bit})
        kafka.restart(1)
        try:
            with Worker(deployment).wait_ready() as worker:
                assert_known_everywhere(deployment, worker, 3 * CALLS, [(80, 159), (240, 319)])
            with Worker(deployment, replaces=worker).wait_ready() as worker:
                publish_values(deployment, "u1", *calls_of("f", 1))
                wait_for_counter(worker, "u1", "TC", 3 * CALLS + 1)
        finally:
            deployment.end_all()


def with_garbage(made: bytearray) -> bytearray:
    """Garbage in place of the body, and its right checksum."""
    return with_crc(garbage(made))


def with_wrong_bit(made: bytearray) -> bytearray:
    """One wrong bit in the body."""
    made[-5] ^= 0x10
    return made


def damage(segment: Path, what: dict[int, Any]) -> None:
    """Change record batches of a log segment: their number -> the function that changes one. Sizes stay."""
    content, begin, number = bytearray(segment.read_bytes()), 0, 0
    while begin < len(content):
        (length,) = struct.unpack_from(">i", content, begin + 8)
        end = begin + 12 + length
        if number in what:
            content[begin:end] = what[number](content[begin:end])
        begin, number = end, number + 1
    assert max(what) < number
    segment.write_bytes(content)


HOSTILE: dict[str, Callable[[], list[bytes]]] = {
    "too much": lambda: [bytes(UNPACKED_BYTES_MAX)],
    "one message": lambda: [bytes(UNPACKED_BYTES_MAX - 1_000)],
    "a few large ones": lambda: [b"[" * 1_000_000] * 30,
    "many small ones": lambda: [b"x" * 100] * 250_000,
    "large snapshots": lambda: [large_snapshot()] * 30,
}


def large_snapshot() -> bytes:
    """A switch.snapshot of u1 of nearly 1 MiB."""
    now_ms = int(time.time() * 1000)
    return encoded(event("switch.snapshot", 0, "u1", ts=now_ms, switchId="s", callIds=["x" * 35] * 26_000))


@pytest.mark.skipif(bool(os.environ.get("ECOUNTERS_TEST_BROKER")), reason="`make test` runs it")
@pytest.mark.parametrize("codec", CODECS)
def test_no_packed_record_batch_keeps_the_loop_busy_for_long(deployment: Deployment, codec: str) -> None:
    """Whatever it unpacks to, and however it is packed: each step of the loop is short, and nothing is lost.

    A batch with a long step is sent again, TIMES in all, and the shortest counts: a virtual machine's host takes some
    10 ms of a processor now and then, and counts them as the step's.
    """
    add_users(deployment, ["u1"])
    with Worker(deployment, launcher=LAUNCHER).wait_ready() as worker:
        slow, calls = {}, itertools.count(1)
        for name, make in HOSTILE.items():
            for _ in range(TIMES):
                longest_step(worker)
                send(deployment, make(), codec)
                call = next(calls)
                publish_values(deployment, "u1", *calls_of(f"{call}-", 1))
                wait_until_flushed(deployment)
                wait_for_counter(worker, "u1", "TC", call)
                step = longest_step(worker)
                print(f"{step.busy_ms:6.1f} ms  {name}  {step.what}")
                if step.busy <= BUSY_MAX:
                    break
            else:
                slow[name] = step
        assert not slow
        assert "Traceback" not in worker.log.read_text()
