"""``ecounters dlq`` on dead letters of a real worker: counts, samples, files and replay."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from ecounters.errors import REASONS
from ecounters.events.partitioner import partition_of
from streams.engine.dead_letters import DEAD_LETTER_VALUE_MAX
from tests.support.accounts import TOKEN, add_users
from tests.support.recount_check import dead_letters
from tests.support.topics import read_topic, wait_until_flushed
from tests.support.workers import ROOT, Deployment, Worker

Message = tuple[int, bytes | None, bytes | None]
"""(partition, key, value)."""
USER = "u1"
AHEAD_MS = 3_000
"""How far ahead of the clock an event is: more than ECOUNTERS_CLOCK_AHEAD_MS of this deployment."""
ESCAPES = b"\x1b[2J\x1b]0;gotcha\x07 \xe2\x80\xae\xc2\x9b31m\r\n\xff\x00end"
"""Sequences that clear a terminal, name its window, reverse text and set colours; and bytes that are no UTF-8."""


@pytest.fixture
def here(deployment: Deployment) -> Deployment:
    """A deployment where an event may be ahead of the clock by one second."""
    add_users(deployment, [USER])
    return deployment.with_settings(CLOCK_AHEAD_MS=1_000)


@pytest.fixture
def worker(here: Deployment) -> Iterator[Worker]:
    """A ready worker of that deployment."""
    with Worker(here) as one:
        yield one.wait_ready()


def ran(deployment: Deployment, *args: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``ecounters dlq``. ``typed``: what is typed when it asks."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "dlq", *args],
        cwd=ROOT, env=deployment.environment(), input=typed, capture_output=True, encoding="utf-8", timeout=60,
        check=False,
    )  # fmt: skip


def publish(deployment: Deployment, *messages: Message) -> None:
    """Publish messages, and wait until the worker has counted or refused them."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=deployment.broker)
        await producer.start()
        try:
            for partition, key, value in messages:
                batch = producer.create_batch()  # a dead letter may have neither key nor value
                batch.append(key=key, value=value, timestamp=None)
                batch.close()
                await (await producer.send_batch(batch, deployment.name, partition=partition))
        finally:
            await producer.stop()

    asyncio.run(send())
    wait_until_flushed(deployment)


def event(at: int, **fields: object) -> bytes:
    """A call.started of USER at the present time."""
    made = {"id": f"e{at}", "type": "call.started", "ts": int(time.time() * 1000), "userId": USER}
    return json.dumps({**made, "callId": f"c{at}", "callType": "IBD", **fields}).encode()


def counts(shown: str) -> dict[tuple[str, str], int]:
    """The printed table: (reason, field) -> count."""
    lines = shown.split("\n\n")[0].splitlines()
    assert lines[0].split() == ["REASON", "FIELD", "COUNT", "FIRST", "SEEN", "LAST", "SEEN"]
    found = {}
    for line in lines[1:]:
        reason, name, count, first, last = line.split()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first)
        assert first <= last
        found[reason, name] = int(count.replace(",", ""))
    return found


def started(worker: Worker) -> int:
    """The number of calls of USER."""
    reply = worker.ask({"userId": USER, "token": TOKEN})
    assert reply.status == 200, reply
    return int(reply.json["message"]["TC"])


def test_dlq_shows_counts_and_samples_of_dead_letters(here: Deployment, worker: Worker, tmp_path: Path) -> None:
    """Counts are by reason and field, samples have offset and bytes, and options select reason, partition and time."""
    assert ran(here).stdout == f"Nothing in {here.name}.dlq.\n"
    key = USER.encode()
    bad: list[Message] = [
        *((0, key, event(at, type="call.sung")) for at in range(5)),
        (1, key, event(9, callId=None)),
        (2, None, ESCAPES),
        (2, None, None),
        (3, key, b""),
        (3, key, event(10, switchId="x" * 300)),
    ]
    publish(here, *bad, (partition_of(USER, 4), key, event(11)))
    expected = {("unknown_type", "type"): 5, ("missing", "callId"): 1, ("not_json", "-"): 1, ("empty", "-"): 2}
    expected["too_long", "switchId"] = 1
    all_of_it = ran(here)
    assert (all_of_it.returncode, counts(all_of_it.stdout)) == (0, expected)
    assert "read 10 dead letters" in all_of_it.stderr
    assert next(iter(counts(all_of_it.stdout))) == ("unknown_type", "type")
    samples = [line for line in all_of_it.stdout.splitlines() if line.startswith("  ")]
    assert len(samples) == 3 + 1 + 1 + 2 + 1
    # A sample has partition, offset, time, and the beginning of the message.
    offsets = {offset for partition, offset, reason, *_ in dead_letters(here) if reason == "missing" and partition == 1}
    (missing,) = [line for line in samples if f"{here.name}/1/" in line]
    assert missing.split()[0] == f"{here.name}/1/{offsets.pop()}"
    assert missing.endswith((bad[5][2] or b"").decode())
    assert "unknown_type: type, the last 3 of 5" in all_of_it.stdout
    assert any(line.endswith("(no message)") for line in samples) and any(line.endswith("(empty)") for line in samples)
    assert any(re.search(r'"switchId": "x+… \(\d+ bytes\)$', line) for line in samples)

    assert counts(ran(here, "--reason", "empty", "--samples", "0").stdout) == {("empty", "-"): 2}
    assert counts(ran(here, "--partition", "3").stdout) == {("empty", "-"): 1, ("too_long", "switchId"): 1}
    assert counts(ran(here, "--since", "1h").stdout) == expected
    nothing = ran(here, "--since", "2099-01-01T00:00:00Z")
    assert nothing.stdout == f"Nothing of that user, event, time or place in {here.name}.dlq.\n"
    foreign = ran(here, "--reason", "?")
    assert foreign.stdout.startswith(f"Nothing in {here.name}.dlq was refused as ?; there is: empty, missing, ")
    other = ran(here, "--reason", "late").stdout
    assert other.endswith("refused as late; there is: empty, missing, not_json, too_long, unknown_type.\n")

    file = tmp_path / "bad.jsonl"
    written = ran(here, "--out", str(file))
    assert sorted(file.read_bytes().splitlines()) == sorted(v for _, _, v in bad if v and v != ESCAPES)
    assert "3 messages are empty, truncated or have line breaks and were not written." in written.stderr


def test_samples_hold_no_control_characters(here: Deployment, worker: Worker) -> None:
    """Control characters and those that reverse text are printed as escapes."""
    publish(here, (0, None, ESCAPES))
    shown = ran(here)
    assert shown.returncode == 0
    assert not [one for one in shown.stdout if not one.isprintable() and one != "\n"]
    assert shown.stdout.rstrip().endswith(r"\x1b[2J\x1b]0;gotcha\x07 \u202e\x9b31m\r\n\xff\x00end")


def test_a_replay_counts_each_event_that_is_good_by_then_once(here: Deployment, worker: Worker) -> None:
    """A replayed event is counted once if its time has come by then; one that stays bad is a dead letter again."""
    key, where = USER.encode(), partition_of(USER, here.partitions)
    elsewhere = (where + 1) % here.partitions
    due = int(time.time() * 1000) + AHEAD_MS
    ahead = [event(at, ts=due) for at in range(3)]
    publish(here, *((where, key, one) for one in ahead), (elsewhere, b"its own", b"{"), (where, key, event(8)))
    assert started(worker) == 1
    assert counts(ran(here).stdout) == {("clock_ahead", "ts"): 3, ("not_json", "-"): 1}

    declined = ran(here, "--replay", typed="n\n")
    assert f"Publish these 4 messages to {here.name} again?" in declined.stderr
    assert declined.returncode == 130
    time.sleep(max(0.0, due / 1000 - time.time()))
    confirmed = ran(here, "--replay", "--reason", "clock_ahead", typed="y\n")
    assert (confirmed.returncode, "Published 3 messages" in confirmed.stderr) == (0, True), confirmed.stderr
    wait_until_flushed(here)
    assert started(worker) == 4
    before = worker.ask({"userId": USER, "token": TOKEN}).body

    for again in (1, 2):
        assert ran(here, "--replay", "--yes").returncode == 0
        wait_until_flushed(here)
        assert worker.ask({"userId": USER, "token": TOKEN}).body == before
        # The replayed copies became dead letters as well, which the next replay publishes.
        assert counts(ran(here).stdout) == {("clock_ahead", "ts"): 3, ("not_json", "-"): 2**again}
    log = asyncio.run(read_topic(here.broker, here.name))
    assert [(row.key, row.value) for row in log[elsewhere]] == [(b"its own", b"{")] * 4
    assert [row.key for row in log[where]] == [key] * (4 + 3 * 3)


def test_the_refused_ratio_metric_shows_a_flood_of_bad_events(here: Deployment, worker: Worker) -> None:
    """ecounters_refused_ratio is the share of dead letters among the events read lately."""
    key, where = USER.encode(), partition_of(USER, here.partitions)
    assert worker.metric("ecounters_refused_ratio") == 0
    publish(here, *((where, key, event(at)) for at in range(3)), (where, key, b"{"))
    assert worker.metric("ecounters_refused_ratio") == 0.25


def test_dlq_explains_wrong_use_in_one_line(here: Deployment) -> None:
    """A wrong option gives exit code 2 and a missing topic or record exit code 1, with one line each."""
    for args, code, text in (
        (["--since", "soon"], 2, "no time such as 30m, 2h, 1d or 2026-03-01T09:00:00+05:30"),
        (["--since", "2026-03-01T09:00:00"], 2, "no time such as"),
        (["--yes"], 2, "--yes is for --replay"),
        (["--reason", "lat"], 2, f"'lat' is no reason; there are {', '.join(REASONS)}\n"),
        (["--partition", "4"], 1, f"ecounters: there is no partition 4: {here.name}.dlq has 0 to 3\n"),
    ):
        found = ran(here, *args)
        assert (found.returncode, found.stdout) == (code, "")
        assert text in found.stderr
    nowhere = ran(here.with_settings(TOPIC="nobody.made.it"))
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert "there is no topic nobody.made.it.dlq" in nowhere.stderr
    away = ran(here.with_settings(BROKER="127.0.0.1:1"))
    assert (away.returncode, away.stderr.count("\n")) == (1, 1)
    assert away.stderr.startswith("ecounters: Kafka at 127.0.0.1:1: ")


def test_a_message_too_large_for_the_dead_letter_topic_is_truncated_and_never_published_again(
    here: Deployment, worker: Worker
) -> None:
    """A message that unpacks to more than the topic takes is shown as truncated, and left out of replay and file."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=here.broker, compression_type="gzip", max_request_size=10_000_000)
        await producer.start()
        try:
            await producer.send_and_wait(here.name, b"x" * 5_000_000, key=b"u1", partition=0)
            await producer.send_and_wait(here.name, b"{", key=b"u1", partition=0)
        finally:
            await producer.stop()

    asyncio.run(send())
    wait_until_flushed(here, 30)
    told = [(reason, len(value or b"")) for _, _, reason, _, value in dead_letters(here)]
    assert told == [("too_large", DEAD_LETTER_VALUE_MAX), ("not_json", 1)]
    shown = ran(here, "--out", "/dev/null", "--replay", "--yes")
    assert "… (truncated: the first 1,900,000 of 5,000,000 bytes)" in shown.stdout
    assert "1 messages are empty, truncated or have line breaks and were not written." in shown.stderr
    assert f"Published 1 messages to {here.name} again." in shown.stderr
    assert "1 are truncated, or could not be read at all, and were left out." in shown.stderr
    wait_until_flushed(here, 30)
    assert [reason for _, _, reason, _, _ in dead_letters(here)] == ["too_large", "not_json", "not_json"]
