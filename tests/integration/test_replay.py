"""``ecounters replay -`` on a pipe that stays open, as behind `tail -f`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.topics import read_topic
from tests.support.workers import ROOT, Deployment

LIMIT_S = 30


@pytest.fixture
def replay(deployment: Deployment) -> Iterator[subprocess.Popen[bytes]]:
    """The command, with its standard input open."""
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "replay", "-"],
        cwd=ROOT, env=deployment.environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def feed(process: subprocess.Popen[bytes], content: bytes) -> None:
    """Write to the standard input of the command."""
    assert process.stdin is not None
    process.stdin.write(content)
    process.stdin.flush()


def wait_for(deployment: Deployment, *expected: bytes) -> None:
    """Wait until the topic of events has these messages, and no others."""
    deadline, found = time.monotonic() + LIMIT_S, list[bytes | None]()
    while sorted(found, key=repr) != sorted(expected):
        assert time.monotonic() < deadline, found
        read = asyncio.run(read_topic(deployment.broker, deployment.name))
        found = [record.value for records in read.values() for record in records]


def test_what_has_come_is_published_while_the_pipe_is_open(
    deployment: Deployment, replay: subprocess.Popen[bytes]
) -> None:
    """Whole lines at once, the begun one with its end; then it says where refused events are found."""
    feed(replay, b"[1]\n[2]\n[3")
    wait_for(deployment, b"[1]", b"[2]")
    feed(replay, b"33]\n\n[4]")
    wait_for(deployment, b"[1]", b"[2]", b"[333]")
    _, err = replay.communicate(timeout=LIMIT_S)
    wait_for(deployment, b"[1]", b"[2]", b"[333]", b"[4]")
    assert replay.returncode == 0
    total, hint = err.decode().splitlines()
    assert total.startswith("published 4 events in ")
    assert hint == "`ecounters dlq` shows what workers refuse of them."


def test_one_signal_ends_it_while_it_waits_for_input(deployment: Deployment, replay: subprocess.Popen[bytes]) -> None:
    """Ctrl-C; what came before is published."""
    feed(replay, b"[1]\n")
    wait_for(deployment, b"[1]")
    replay.send_signal(signal.SIGINT)
    assert replay.wait(LIMIT_S / 3) == 130
    assert replay.stderr is not None and replay.stderr.read().split() == [b"Stopped."]
