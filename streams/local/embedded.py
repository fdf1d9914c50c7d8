"""The embedded broker and store, and the care of child processes: what ``ecounters run`` and the tests share.

The server is noida-db, one small binary that speaks Kafka's and Redis's protocols. For trying and for tests only:

* Everything is in memory. Once a second all of it is written to one file (no fsync), and again when it is told to end.
  So nothing is lost by ``stop``; by ``kill`` what was acknowledged in the last second or so.
* It listens on 127.0.0.1 and has no passwords. Besides the two ports there is a third, of its own ``noida-db status``.
* Epochs of transactional ids are forgotten when it ends; transactions that are open then are aborted.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ecounters.errors import Stop
from streams.kafka.topics import EVENTS_CONFIG, MIB
from streams.settings.table import Settings

SERVER: Final = "server"
LOCAL: Final = "127.0.0.1"

START_LIMIT_S: Final = 60.0
"""It answers when it has read its data: 2 s for 100 MB."""
STOP_LIMIT_S: Final = 30.0
"""It writes its data first. Killed in that, it has what it wrote a second before."""
GUARD_LIMIT_S: Final = 10
"""What a child has to end in when its parent is gone."""
ANSWER_LIMIT_S: Final = 1.0
POLL_S: Final = 0.05
LINES_SHOWN: Final = 10
TAIL_BYTES: Final = 16_384

EVENTS_KEPT_BYTES: Final = 16 * MIB
"""Of each partition. All that is kept is written once a second, at four bytes for one: 50 MB take half a processor."""

PORTS: Final = range(20_000, 32_000)
"""To choose from. No system has these for outgoing connections, one of which could else take a port between the choice
and its use, or while a server is started again."""
_first = random.randrange(len(PORTS))  # others choose at the same time
_ports = cycle((*PORTS[_first:], *PORTS[:_first]))

_NOISE: Final = "weak version"
"""The loader's remark on a libc older than the binary's; it does no harm."""

_API_VERSIONS: Final = struct.pack(">hhih", 18, 0, 1, -1)
"""Kafka's smallest request: ApiVersions, version 0, correlation id 1, no client id."""

# Reads lines of pids; when there are no more to come, ends those of the last line, one after the other.
_GUARD: Final = f"""
while read -r line; do pids=$line; done
for pid in $pids; do
  kill -TERM "$pid"
  left={GUARD_LIMIT_S * 10}
  while kill -0 "$pid" && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
  kill -KILL "$pid"
done
"""


# ---------------------------------------------------------------------------------------------- children


class Child:
    """A process that this one has started. Its output goes to a file; a terminal's Ctrl-C does not reach it.

    It is in a session of its own, so that its parent alone hears of Ctrl-C and can end its children in order.
    ``held``: file descriptors that it keeps open.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=held,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, -9 for signal 9; None: it lives."""
        return self._process.poll()

    def last_lines(self) -> list[str]:
        """The end of its output, at most LINES_SHOWN lines."""
        with self.log.open("rb") as output:
            output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip() and _NOISE not in line][-LINES_SHOWN:]

    def end(self, limit_s: float) -> int:
        """Ask it to end (SIGTERM), and make it after ``limit_s`` (SIGKILL); its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL; its exit code."""
        self._process.kill()
        return self._process.wait()


class Guard:
    """Ends children if this process cannot do it any more, whatever ended it: SIGKILL, a crash, the OOM killer.

    A small shell holds the reading end of a pipe whose writing end is here and nowhere else (Python closes it in
    children), so it learns of this process's death from the system, on Linux and on macOS. Then it ends the children in
    order, the last one started first: SIGTERM, and after GUARD_LIMIT_S SIGKILL. Not covered: that somebody kills the
    shell as well; a child started in the microseconds before ``watch``; and children of children.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def watch(self, child: Child) -> None:
        """Take a child into care."""
        self._children.insert(0, child)
        self._tell()

    def release(self, child: Child) -> None:
        """It has ended: its pid may soon be another's."""
        self._children.remove(child)
        self._tell()

    def close(self) -> None:
        """End what is left, if anything is, and go."""
        for child in list(self._children):
            child.end(GUARD_LIMIT_S)
            self.release(child)
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()

    def _tell(self) -> None:
        if self._shell.stdin is not None and self._shell.poll() is None:
            self._shell.stdin.write(" ".join(str(child.pid) for child in self._children).encode() + b"\n")
            self._shell.stdin.flush()


# ---------------------------------------------------------------------------------------------- the server


class Embedded:
    """A running broker and store. ``start`` gives one that answers; ``launch`` does not wait for that."""

    def __init__(self, child: Child, kafka_port: int, redis_port: int) -> None:
        self.child = child
        self.kafka_port = kafka_port
        self.redis_port = redis_port

    @classmethod
    def launch(
        cls, data_dir: Path, kafka_port: int = 0, redis_port: int = 0, log: Path | None = None, held: Sequence[int] = ()
    ) -> Self:
        """Start it on data that there may be already; port 0: any free one. Stop if it is not installed."""
        kafka_port, redis_port = (
            port or free for port, free in zip((kafka_port, redis_port), free_ports(2), strict=True)
        )
        options = ["--host", LOCAL, "--kafka-port", str(kafka_port), "--redis-port", str(redis_port)]
        command: list[str | Path] = [_program(), "start", "--data-dir", data_dir, "--only", "redis,kafka", *options]
        log = log or data_dir.with_name(data_dir.name + ".log")
        return cls(Child(SERVER, command, log, held=held), kafka_port, redis_port)

    @classmethod
    def start(cls, data_dir: Path, kafka_port: int = 0, redis_port: int = 0, log: Path | None = None) -> Self:
        """Start it, and wait until it answers. Stop if it does not."""
        server = cls.launch(data_dir, kafka_port, redis_port, log)
        try:
            server.wait()
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def broker(self) -> str:
        """Where Kafka is, as ECOUNTERS_BROKER."""
        return f"{LOCAL}:{self.kafka_port}"

    @property
    def redis_url(self) -> str:
        """Where Redis is, as ECOUNTERS_REDIS."""
        return f"redis://{LOCAL}:{self.redis_port}/0"

    def wait(self, limit_s: float = START_LIMIT_S) -> None:
        """Until it answers as Kafka and as Redis. Stop, with the last of what it said, if it ends or takes too long."""
        deadline = time.monotonic() + limit_s
        while not self._answers():
            if self.child.exit_code is not None:
                raise Stop(f"the embedded broker and store ended at once: {self._said()}")
            if time.monotonic() > deadline:
                raise Stop(f"the embedded broker and store gave no answer in {limit_s:g} s: {self._said()}")
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        # A connection alone proves nothing: they are accepted before the data has been read.
        request = struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS
        return _asked(self.kafka_port, request, 8)[4:] == _API_VERSIONS[4:8] and (
            _asked(self.redis_port, b"PING\r\n", 7) == b"+PONG\r\n"
        )

    def _said(self) -> str:
        lines = self.child.last_lines()
        errors = [line for line in lines if line.startswith(("error", "hint"))]
        return " / ".join(errors or lines) or "it said nothing"

    def stop(self) -> int:
        """End it in order: all data is written. Its exit code."""
        return self.child.end(STOP_LIMIT_S)

    def kill(self) -> int:
        """End it as a crash would (SIGKILL): what came in the last second may be lost. Its exit code."""
        return self.child.kill()


async def limit_event_retention(settings: Settings) -> None:
    """Let the topic of events keep a few hours, not a week: its broker has it all in memory."""
    little = {"retention.bytes": str(EVENTS_KEPT_BYTES), "segment.bytes": str(2 * MIB)}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    try:
        await admin.start()
        topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic, configs={**EVENTS_CONFIG, **little})
        await admin.alter_configs([topic])
    finally:
        await admin.close()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now. OSError if there are not so many."""
    found = list(islice(filter(is_free, islice(_ports, len(PORTS))), count))
    if len(found) < count:
        raise OSError(errno.EADDRNOTAVAIL, f"all ports of {LOCAL} from {PORTS[0]} to {PORTS[-1]} are in use")
    return found


def is_free(port: int, host: str = LOCAL) -> bool:
    """Whether nobody listens on that port now. OSError if nobody ever could: no such address, no permission."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _asked(port: int, request: bytes, count: int) -> bytes:
    """The first bytes of the answer; fewer if they do not come in time."""
    answer = b""
    try:
        with socket.create_connection((LOCAL, port), timeout=ANSWER_LIMIT_S) as connection:
            connection.sendall(request)
            while len(answer) < count and (more := connection.recv(count - len(answer))):
                answer += more
    except OSError:
        pass
    return answer


def _program() -> Path:
    """The binary; made executable, which pip's unpacking leaves out."""
    found = importlib.util.find_spec("noida_db")
    if found is None or found.origin is None:
        raise Stop("the embedded broker and store is not installed: pip install 'ecounters[embedded]'")
    program = Path(found.origin).with_name("noida-db")
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    return program
