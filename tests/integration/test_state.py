"""``ecounters state`` as a person runs it."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import FORMAT, POSITION, position_entry, read_position
from ecounters.changelog.holes import Hole
from ecounters.changelog.saved import Position
from ecounters.events.partitioner import partition_of
from ecounters.windows.calendar import HOUR_MS
from streams.kafka.positions import read_positions
from streams.tools.state.archive import VERSION, ArchiveWriter, Header
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited, ran
from tests.support.kafka_cluster import Cluster
from tests.support.published_calls import RecentCall, publish_values
from tests.support.record_batches import batch, produce_raw, with_crc
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

NAMES = [f"u{n}" for n in range(1, 7)]
CALLS = 5
BATCH_HEADER_BYTES = 61

pytestmark = pytest.mark.usefixtures("no_users")
on_apache_kafka = pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker tells no ids of topics and clusters"
)


def publish_calls(deployment: Deployment, prefix: str) -> None:
    """Publish CALLS ended calls of each user, with a telephone number."""
    for user in NAMES:
        made = [RecentCall(f"{prefix}{at}", user).started(0, "IBD", number=f"+1555000{at:04}") for at in range(CALLS)]
        publish_values(deployment, user, *(value for one in made for value in one.ringing(1).ended(9, 3).values()))


def calls(worker: Worker) -> set[int]:
    """How many calls the users have; one number if all have as many."""
    body = {"token": TOKEN, "filter": [{"field": "date", "op": "eq", "value": "last7days"}]}
    return {worker.ask({"userId": user, **body}).json["message"]["TC"] for user in NAMES}


def wait_for_all(worker: Worker) -> None:
    """Wait until the worker replies for all users. AssertionError after 30 s."""
    deadline = time.monotonic() + 30
    while any(worker.ask({"userId": user, "token": TOKEN}).status != 200 for user in NAMES):
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.1)


def count_and_stop(deployment: Deployment, prefix: str = "a") -> None:
    """Let a worker count calls of all users, and end."""
    add_users(deployment, NAMES)
    publish_calls(deployment, prefix)
    with Worker(deployment).wait_ready() as worker:
        wait_until_flushed(deployment)
        worker.end()


def exported(deployment: Deployment, directory: Path) -> Path:
    """Export the state into a file."""
    path = directory / "counters.state"
    exit_code, lines, err = ran(deployment, "state", "export", str(path))
    assert exit_code == 0 and lines[0].startswith("Exported "), (lines, err)
    return path


async def write(deployment: Deployment, partition: int, key: bytes, value: bytes) -> None:
    """Write a record of another program into the changelog."""
    async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
        await producer.send_and_wait(f"{deployment.name}-state-changelog", value, key, partition)


def test_show_tells_what_the_state_is_bound_to(deployment: Deployment) -> None:
    """And of each partition its entries, bytes, position and watermark; while a worker runs, that numbers move."""
    add_users(deployment, NAMES)
    publish_calls(deployment, "a")
    with Worker(deployment).wait_ready() as worker:
        wait_until_flushed(deployment)
        exit_code, lines, err = ran(deployment, "state", "show")
        assert exit_code == 0, err
        assert lines[0].startswith("Workers are running (") and lines[0].endswith("so the numbers move.")
        worker.end()
    exit_code, lines, err = ran(deployment, "state", "show")
    assert exit_code == 0, err
    assert f"It is bound to topic {deployment.name} (4 partitions" in lines[1]
    rows = [line.split() for line in lines if line.split()[0].isdigit()]
    ended = sum(3 * CALLS for user in NAMES if partition_of(user, 4) == 0)
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0][3] == str(ended) and all(int(row[1]) > 0 for row in rows)
    assert ran(deployment, "state", "check")[0] == 0


def test_check_names_foreign_entries_and_repair_takes_them_out(deployment: Deployment) -> None:
    """By partition, offset and key, with telephone numbers masked; the counters of all accounts stay."""
    count_and_stop(deployment)
    asyncio.run(write(deployment, 1, b"foreign", b"x"))
    asyncio.run(write(deployment, 1, b"n\x92\xa2u1\xac+15550001111", b"\xa1x"))
    exit_code, lines, _ = ran(deployment, "state", "check")
    assert exit_code == 1
    assert lines[0].startswith("partition 1, offset ") and "unknown thing b'foreign'" in lines[0]
    assert "telephone number ['u1', '+15*********']" in lines[1] and "15550001111" not in "".join(lines)
    exit_code, lines, err = ran(deployment, "state", "repair")  # there is nobody to say yes
    assert exit_code == 130, (lines, err)
    exit_code, lines, err = ran(deployment, "state", "export", str(deployment.log_dir / "never"))
    assert exit_code == 1 and "no file was written" in err, (lines, err)
    with Worker(deployment).wait_ready() as worker:  # of which partition 1 waits
        assert worker.metric("ecounters_partitions") == deployment.partitions
        exit_code, lines, err = ran(deployment, "state", "repair", "--yes")
        assert exit_code == 0 and lines[-1] == "Mended 2 entries.", (lines, err)
        assert ran(deployment, "state", "check")[0] == 0
        wait_for_all(worker)
        assert calls(worker) == {CALLS}


@pytest.mark.parametrize("value", [position_entry(Position(FORMAT + 1, 5, 0, 0))[1], b"damaged"])
def test_a_position_is_never_taken_out(deployment: Deployment, value: bytes) -> None:
    """Of a newer format or damaged. Without it, all events would be counted again onto what is there."""
    count_and_stop(deployment)
    asyncio.run(write(deployment, 1, POSITION, value))
    asyncio.run(write(deployment, 1, b"foreign", b"x"))
    exit_code, lines, err = ran(deployment, "state", "repair", "--yes")
    assert exit_code == 1 and lines[-1] == "Mended 1 entries.", (lines, err)
    assert any(line.startswith("A position cannot be taken out") for line in lines), lines
    saved = asyncio.run(read_positions(deployment.kafka, f"{deployment.name}-state-changelog", 4))
    assert saved[1] == value
    exit_code, lines, err = ran(deployment, "state", "repair", "--yes")
    assert exit_code == 1 and not any("Mended" in line for line in lines), (lines, err)


def test_a_backup_brings_everything_back(deployment: Deployment, tmp_path: Path) -> None:
    """The file is for its owner alone. It is imported into an empty changelog, and not into one with a state."""
    count_and_stop(deployment)
    file = exported(deployment, tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and list(tmp_path.glob(".counters*")) == []
    publish_calls(deployment, "b")
    exit_code, lines, err = ran(deployment, "state", "import", str(file))
    assert exit_code == 1 and "is not empty" in err, (lines, err)
    again = deployment.with_settings(APP_ID=f"{deployment.name}-again")
    again.create_topics()
    exit_code, lines, err = ran(again, "state", "import", str(file))
    assert exit_code == 0, (lines, err)
    with Worker(again).wait_ready() as worker:
        assert calls(worker) == {2 * CALLS}
        exit_code, lines, err = audited(again, worker)
        assert exit_code == 0, (lines, err)
        exit_code, lines, err = ran(again, "state", "export", str(tmp_path / "other.state"))
        assert exit_code == 1 and "are running" in err, (lines, err)


def test_holes_come_with_the_state(deployment: Deployment, tmp_path: Path) -> None:
    """What Kafka deleted before it was counted is missing in the copy too, and its replies say so."""
    now_ms = int(time.time() * 1000)
    hole = Hole(now_ms - 2 * HOUR_MS, now_ms - HOUR_MS)
    binding = Binding(EventsLog("", deployment.name, "", deployment.partitions), "0.1")
    position = Position(FORMAT, 0, now_ms, now_ms, binding, (hole,))
    asyncio.run(write(deployment, 1, POSITION, position_entry(position)[1] or b""))
    file = exported(deployment, tmp_path)
    again = deployment.with_settings(APP_ID=f"{deployment.name}-again")
    again.create_topics()
    exit_code, lines, err = ran(again, "state", "import", "--as-is", str(file))
    assert exit_code == 0, (lines, err)
    saved = asyncio.run(read_positions(again.kafka, f"{again.name}-again-state-changelog", again.partitions))
    assert {at: read_position(value).holes for at, value in saved.items()} == {0: (), 1: (hole,), 2: (), 3: ()}
    with Worker(again).wait_ready() as worker:
        assert worker.metric("ecounters_holes") == 1


def test_a_damaged_file_is_refused_before_anything_is_written(deployment: Deployment, tmp_path: Path) -> None:
    """Cut off, or with a byte changed anywhere; and one that is something else."""
    count_and_stop(deployment)
    file = exported(deployment, tmp_path)
    content = file.read_bytes()
    again = deployment.with_settings(APP_ID=f"{deployment.name}-again")
    again.create_topics()
    for damaged, says in (
        (content[:-7], "was cut off"),
        (content[: len(content) // 2], "was cut off"),
        (content[:400] + bytes((content[400] ^ 1,)) + content[401:], "is damaged"),
        (b"{}", "is no file of"),
    ):
        file.write_bytes(damaged)
        exit_code, lines, err = ran(again, "state", "import", str(file))
        assert exit_code == 1 and says in err, (says, lines, err)
    assert "all              0" in ran(again, "state", "show")[1][-1]


def test_a_file_of_a_newer_format_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    """Nobody knows what its entries mean; the message names both formats."""
    path = tmp_path / "newer.state"
    binding = Binding(EventsLog("another", "events", "", 4), "")
    with ArchiveWriter(path, Header(VERSION, FORMAT + 1, "99.0", "2026-03-01T09:00:00Z", binding)) as writer:
        writer.add(0, [b"p"], [msgspec.msgpack.encode((FORMAT + 1, 0, 0, 0))])
        writer.finish()
    exit_code, lines, err = ran(deployment, "state", "import", str(path), "--from-start")
    assert exit_code == 1 and f"format {FORMAT + 1} of the entries; this release reads 1 to {FORMAT}" in err, (
        lines,
        err,
    )


def test_partitions_added_by_hand_are_noticed(deployment: Deployment) -> None:
    """By the audit, although the workers are refused; and ``--grow`` mends it."""
    count_and_stop(deployment)

    async def alter() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        await admin.start()
        name = deployment.name
        await admin.create_partitions(
            {one: NewPartitions(8) for one in (name, f"{name}.dlq", f"{name}-state-changelog")}
        )
        await admin.close()

    asyncio.run(alter())
    wide = replace(deployment, partitions=8)
    exit_code, lines, err = ran(wide, "audit")
    assert exit_code == 1 and "was made for 4 partitions" in err and "--grow 8" in err, (lines, err)
    exit_code, lines, err = ran(wide, "topics", "--grow", "8", "--yes", "--dir", str(deployment.log_dir))
    assert exit_code == 0, (lines, err)
    publish_calls(wide, "b")
    with Worker(wide).wait_ready() as worker:
        wait_until_flushed(wide)
        assert calls(worker) == {2 * CALLS}
        exit_code, lines, err = audited(wide, worker)
        assert exit_code == 0, (lines, err)


@pytest.mark.skipif(bool(os.environ.get("ECOUNTERS_TEST_BROKER")), reason="Apache Kafka refuses such record batches")
def test_a_damaged_changelog_is_not_exported(deployment: Deployment, tmp_path: Path) -> None:
    """A record batch that cannot be read is named by partition and offsets, and no file is left."""
    count_and_stop(deployment)
    content = batch(0, [b"a" * 200] * 3, compression=1)
    content[BATCH_HEADER_BYTES:] = b"\xff" * len(content[BATCH_HEADER_BYTES:])
    changelog = TopicPartition(f"{deployment.name}-state-changelog", 2)
    asyncio.run(produce_raw(deployment.broker, changelog, bytes(with_crc(content))))
    exit_code, lines, err = ran(deployment, "state", "check")
    assert exit_code == 1, (lines, err)
    found = re.fullmatch(r"partition 2, offsets (\d+) to (\d+): a record batch cannot be read: .+", lines[0])
    assert found is not None and int(found[2]) == int(found[1]) + 2, lines
    exit_code, lines, err = ran(deployment, "state", "export", str(tmp_path / "counters.state"))
    assert exit_code == 1 and f"partition 2 cannot be read at offsets {found[1]} to {found[2]}: " in err, (lines, err)
    assert not list(tmp_path.glob("*counters.state*"))


@pytest.fixture(scope="module")
def other_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another cluster."""
    with Cluster(tmp_path_factory.mktemp("other")) as cluster:
        yield cluster.address


@on_apache_kafka
@pytest.mark.parametrize("choice", ["--from-start", "--from-end", "--as-is"])
def test_a_state_moves_to_another_cluster(
    deployment: Deployment, tmp_path: Path, other_kafka: str, choice: str
) -> None:
    """Each option counts what it says: all of the new topic, what comes later, or what the mirror has more."""
    count_and_stop(deployment)
    file = exported(deployment, tmp_path)
    there = replace(deployment, broker=other_kafka)
    there.create_topics()
    exit_code, lines, err = ran(there, "state", "import", str(file))
    assert exit_code == 1 and choice in err, (lines, err)
    publish_calls(there, "a" if choice == "--as-is" else "b")  # a mirror, or other events
    exit_code, lines, err = ran(there, "state", "import", str(file), choice)
    assert exit_code == 0, (lines, err)
    publish_calls(there, "c")
    expected = {"--from-start": 3 * CALLS, "--from-end": 2 * CALLS, "--as-is": 2 * CALLS}[choice]
    with Worker(there).wait_ready() as worker:
        wait_until_flushed(there)
        assert calls(worker) == {expected}
        exit_code, lines, err = audited(there, worker)
        if choice == "--as-is":
            assert exit_code == 0, (lines, err)
        else:
            assert exit_code == 1 and "cannot be read here any more" in err and "--from 20" in err, (lines, err)
