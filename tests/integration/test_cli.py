"""The commands, run against real servers."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from ecounters.query.request import Query
from streams.access.sessions import Sessions
from streams.basics.terminal import Progress
from streams.cli import main
from streams.kafka import publisher as kafka_publisher
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Outgoing
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.settings.load import load
from streams.settings.table import SETTINGS, Settings
from streams.tools.publish import at_speed, publish

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "127.0.0.1:1"
"""An address at which nothing listens."""


@pytest.fixture
def settings(redis_url: str, broker: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with new topics, and the environment set so that commands use them."""
    name = f"test-{secrets.token_hex(4)}"
    for variable in [one for one in os.environ if one.startswith("ECOUNTERS_") and "_TEST_" not in one]:
        monkeypatch.delenv(variable)
    given = {"BROKER": broker, "REDIS": redis_url, "TOPIC": name, "APP_ID": name, "PARTITIONS": "3"}
    for variable, value in given.items():
        monkeypatch.setenv(f"ECOUNTERS_{variable}", value)
    return load(os.environ)


def ran(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Run a command in this process; returns its exit code, stdout and stderr."""
    exit_code = main(list(args))
    seen = capsys.readouterr()
    return exit_code, seen.out, seen.err


async def read_all(settings: Settings, topic: str) -> dict[int, list[tuple[bytes | None, bytes, int]]]:
    """(key, value, timestamp type) of all records of each partition, in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, at) for at in range(3)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[int, list[tuple[bytes | None, bytes, int]]] = {at.partition: [] for at in partitions}
        while any(len(found[at.partition]) < ends[at] for at in partitions):
            for at, records in (await consumer.getmany(timeout_ms=1000)).items():
                found[at.partition] += [(one.key, one.value, one.timestamp_type) for one in records]
        return found
    finally:
        await consumer.stop()


def event(user: str | None, at: int, kind: str = "call.heartbeat") -> dict[str, Any]:
    """The fields of an event."""
    return {"id": f"e{at}", "type": kind, "ts": 1_790_000_000_000 + at, "userId": user, "callId": "c"}


def test_settings_are_listed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """`ecounters settings` prints a line for each setting, with value, default, unit and reason."""
    exit_code, out, err = ran(capsys, "settings")
    lines = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert (exit_code, err) == (0, "")
    assert list(lines) == [row.env for row in SETTINGS]
    assert all(row.unit in lines[row.env] and lines[row.env].endswith(row.why) for row in SETTINGS)
    assert f" {settings.topic} " in lines["ECOUNTERS_TOPIC"]


def test_no_password_is_printed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the list of settings nor an error about Redis shows a password."""
    monkeypatch.setenv("ECOUNTERS_REDIS", f"redis://me:hunter2@{NOWHERE}/0")
    _, out, _ = ran(capsys, "settings")
    exit_code, _, err = ran(capsys, "user", "list")
    assert exit_code == 1
    assert f"redis://***@{NOWHERE}/0" in out
    assert f"redis://***@{NOWHERE}/0" in err
    assert "hunter2" not in out + err


@pytest.mark.parametrize("command", [["settings"], ["topics"], ["user", "list"], ["worker"], ["run"]])
def test_a_wrong_setting_ends_every_command_with_2(
    command: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr names the setting and the reason, and the exit code is 2."""
    monkeypatch.setenv("ECOUNTERS_PORT", "many")
    exit_code, _, err = ran(capsys, *command)
    assert exit_code == 2
    assert err == "ecounters: ECOUNTERS_PORT 'many' is wrong: it must be a whole number from 1 to 65535\n"


def test_an_option_is_checked_like_its_variable(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """--partitions 0 is refused in the words of ECOUNTERS_PARTITIONS."""
    exit_code, _, err = ran(capsys, "topics", "--partitions", "0")
    assert exit_code == 2
    assert err.startswith("ecounters: ECOUNTERS_PARTITIONS '0' is wrong")


def test_a_wrong_option_shows_usage(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of click keep their form and exit code."""
    exit_code, _, err = ran(capsys, "session", "open", "acme", "--ttl", "soon")
    assert exit_code == 2
    assert "no time such as" in err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help works for each command."""
    exit_code, out, _ = ran(capsys, "--help")
    assert exit_code == 0
    assert "ecounters run" in out
    for command in ("worker", "run", "settings", "topics", "user", "session", "replay", "simulate"):
        assert ran(capsys, command, "--help")[0] == 0


@pytest.mark.parametrize("command", [["topics"], ["replay", "-"]])
def test_an_unreachable_broker_gives_one_line(command: list[str], settings: Settings, tmp_path: Path) -> None:
    """A command without a broker prints one line, no traceback, and has exit code 1."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from streams.cli import main; sys.exit(main())", *command],
        env={**os.environ, "ECOUNTERS_BROKER": NOWHERE, "PYTHONPATH": str(ROOT)},
        input=b'{"userId":"u"}\n',
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"ecounters: Kafka at {NOWHERE}: ")


def test_printed_tokens_and_sessions_open_the_account(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The token and ssid that the commands print are valid until they are removed."""
    name = f"cli-{secrets.token_hex(4)}"

    def opens(**given: Any) -> int:
        async def ask() -> int:
            sessions = Sessions.connect(settings.redis, settings.session_cache_s)
            try:
                await sessions.authorize(Query(**given))
            except Exception as error:
                return int(getattr(error, "code", -1))
            finally:
                await sessions.close()
            return 0

        return asyncio.run(ask())

    exit_code, token, err = ran(capsys, "user", "add", name, "--zone", "Asia/Kolkata")
    assert exit_code == 0
    assert "not shown again" in err
    assert opens(user_id=name, token=token.strip()) == 0
    assert f"{name}\tAsia/Kolkata" in ran(capsys, "user", "list")[1].splitlines()
    assert ran(capsys, "user", "add", name)[0] == 1
    ssid = ran(capsys, "session", "open", name)[1].strip()
    assert opens(ssid=ssid) == 0
    away = ran(capsys, "session", "open", name, "--agent", "Asha", "--logged-out", "--ttl", "30m")[1].strip()
    assert opens(ssid=away) == 1043
    assert ran(capsys, "session", "close", ssid)[0] == 0
    assert opens(ssid=ssid) == 1015
    newer = ran(capsys, "user", "token", name)[1].strip()
    assert opens(user_id=name, token=token.strip()) == 1015
    assert opens(user_id=name, token=newer) == 0
    assert ran(capsys, "user", "remove", name)[0] == 0
    assert opens(user_id=name, token=newer) == 1015
    assert ran(capsys, "user", "remove", name) == (
        1,
        "",
        f"ecounters: there is no user {name}; `ecounters user list` shows all\n",
    )


# ------------------------------------------------------------------------------------------- topics


def test_topics_are_created_and_then_checked(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run creates three topics with the right settings, and the second finds them."""
    exit_code, out, _ = ran(capsys, "topics")
    assert exit_code == 0
    assert sorted(line.split(":")[0] for line in out.splitlines() if ": made, 3 partitions" in line) == sorted(
        [settings.topic, settings.dlq_topic, settings.changelog_topic]
    )
    exit_code, out, _ = ran(capsys, "topics", "--partitions", "9")
    assert exit_code == 0
    assert out.splitlines()[0] == "3 partitions as there are already, not 9"
    assert len([line for line in out.splitlines() if line.endswith(": there, 3 partitions")]) == 3


async def make(settings: Settings, topic: str, partitions: int, **config: str) -> None:
    """Create a topic as another program might have done."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in config.items()}
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=named)])
    finally:
        await admin.close()


def test_a_changelog_that_deletes_by_time_is_refused(settings: Settings) -> None:
    """Such a changelog would lose counters; the error has the command that repairs it."""
    asyncio.run(make(settings, settings.changelog_topic, 3))
    with pytest.raises(Stop, match=r"cleanup\.policy=delete.*--add-config cleanup\.policy=compact"):
        asyncio.run(ensure_topics(Kafka.of(settings), TopicsSpec.of(settings)))


def test_unequal_numbers_of_partitions_are_refused(settings: Settings) -> None:
    """Events and changelog must have the same number of partitions."""
    asyncio.run(make(settings, settings.topic, 4))
    asyncio.run(make(settings, settings.changelog_topic, 3, cleanup_policy="compact"))
    with pytest.raises(Stop, match=r"4 partitions and .* has 3"):
        asyncio.run(ensure_topics(Kafka.of(settings), TopicsSpec.of(settings)))


def test_new_topics_follow_the_existing_events_topic(settings: Settings) -> None:
    """An events topic of 5 partitions gets a changelog of 5, and a warning if it has the producers' clock."""
    asyncio.run(make(settings, settings.topic, 5))
    lines = asyncio.run(ensure_topics(Kafka.of(settings), TopicsSpec.of(settings))).lines
    assert f"{settings.changelog_topic}: made, 5 partitions, 1 copies" in lines
    assert any("warning: message.timestamp.type=CreateTime" in line for line in lines)


# ------------------------------------------------------------------------------------------- replay


def test_replay_publishes_each_line_to_its_partition(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events go by murmur2 of their user, in order, restarts to all partitions, and other lines without a key."""
    monkeypatch.setattr(kafka_publisher, "BATCH_BYTES", 4_096)  # small batches, so that there are many
    users = [f"user-{at % 7}" for at in range(2_000)]
    events = [json.dumps(event(user, at)).encode() for at, user in enumerate(users)]
    restart = json.dumps(event(None, 1, "switch.restarted")).encode()
    own_restart = json.dumps(event("user-1", 2, "switch.restarted")).encode()
    rubbish = [b"not json", b"[1]", b'{"userId":7}', b"\xff\xfe", b'{"userId":""}']
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\n".join([*events, restart, own_restart, b"", *rubbish]) + b"\n")
    assert ran(capsys, "topics")[0] == 0
    exit_code, _, err = ran(capsys, "replay", str(log))
    assert exit_code == 0
    assert err.startswith("published 2,009 events in ")
    found = asyncio.run(read_all(settings, settings.topic))
    for partition, records in found.items():
        keyed = [(key, value) for key, value, _ in records if key is not None]
        mine = [*zip(users, events, strict=True), ("user-1", own_restart)]
        assert keyed == [(user.encode(), value) for user, value in mine if partition_of(user, 3) == partition]
        assert [value for key, value, _ in records if key is None].count(restart) == 1
    keyless = [value for records in found.values() for key, value, _ in records if key is None and value != restart]
    assert sorted(keyless) == sorted(rubbish)


def test_a_users_partition_is_the_one_kafka_clients_choose(settings: Settings) -> None:
    """The replay and Kafka's default partitioner choose the same partition for every user."""
    users = [f"u{at}" * (1 + at % 5) for at in range(40)] + ["जन", "日本語"]

    async def work() -> dict[int, list[tuple[bytes | None, bytes, int]]]:
        await ensure_topics(Kafka.of(settings), TopicsSpec.of(settings))
        async with AIOKafkaProducer(bootstrap_servers=settings.broker) as producer:
            for user in users:
                await producer.send(settings.topic, b"{}", key=user.encode())
        return await read_all(settings, settings.topic)

    found = asyncio.run(work())
    chosen = {key.decode(): at for at, records in found.items() for key, _, _ in records if key is not None}
    assert chosen == {user: partition_of(user, 3) for user in users}


def test_records_have_the_brokers_clock(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The events topic is created with LogAppendTime, and its records have it."""
    messages = [Outgoing(b"{}", "u", False, None)]
    ran(capsys, "topics")
    asyncio.run(publish(messages, Kafka.of(settings), settings.topic, at_speed(0), Progress("published")))
    found = asyncio.run(read_all(settings, settings.topic))
    assert [kind for records in found.values() for _, _, kind in records] == [1]


def test_a_refused_message_ends_a_replay(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A message that the broker refuses makes the command fail."""
    assert ran(capsys, "topics")[0] == 0
    messages = [Outgoing(b"x" * 3_000_000, "u", False, None)]
    with pytest.raises(Exception, match="MessageSizeTooLarge"):
        asyncio.run(publish(messages, Kafka.of(settings), settings.topic, at_speed(0), Progress("published")))


# ------------------------------------------------------------------------------------------- simulate


def test_simulate_writes_the_same_log_for_the_same_seed(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--out writes as many JSON lines as asked for, the same ones for the same seed."""
    logs = [tmp_path / name for name in ("a", "b", "c")]
    for log, seed in zip(logs, ("7", "7", "8"), strict=True):
        options = ["--seed", seed, "--events", "200", "--start", "2026-03-01T00:00:00Z", "--out", str(log)]
        assert ran(capsys, "simulate", *options)[0] == 0
    assert len([json.loads(line) for line in logs[0].read_bytes().splitlines()]) == 200
    assert logs[0].read_bytes() == logs[1].read_bytes() != logs[2].read_bytes()


def test_a_steady_simulation_has_no_quiet_hours(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 03:00 UTC on, the quietest hour, as many events take less than a third of the time with --steady."""
    took_ms = []
    for number, steady in enumerate(([], ["--steady"])):
        log = tmp_path / f"log{number}"
        options = ["--events", "10000", "--start", "2026-03-01T03:00:00Z", "--out", str(log)]
        assert ran(capsys, "simulate", *options, *steady)[0] == 0
        times = [ts for line in log.read_bytes().splitlines() if isinstance(ts := json.loads(line)["ts"], int)]
        took_ms.append(max(times) - min(times))
    assert took_ms[0] > 3 * took_ms[1]


def test_simulate_publishes_all_events(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """From a start in the past the events are published flat out, and all of them arrive."""
    ran(capsys, "topics")
    options = ["--events", "300", "--start", "2026-03-01T00:00:00Z"]
    assert ran(capsys, "simulate", *options)[0] == 0
    found = asyncio.run(read_all(settings, settings.topic))
    assert sum(len(records) for records in found.values()) >= 300


def test_an_endless_log_in_a_file_is_refused(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--out without --events is refused, because it would fill the disk."""
    exit_code, _, err = ran(capsys, "simulate", "--out", str(tmp_path / "log"))
    assert exit_code == 2
    assert "--events" in err
