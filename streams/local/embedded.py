"""The embedded broker and store: what ``ecounters run`` and the tests share.

The server is noida-db, one small binary that speaks Kafka's and Redis's protocols. For trying and for tests only:

* Everything is in memory. Once a second all of it is written to one file (no fsync), and again when it is told to end.
  So nothing is lost by ``stop``; by ``kill`` what was acknowledged in the last second or so.
* It listens on 127.0.0.1 and has no passwords. Besides the two ports there is a third, of its own ``noida-db status``.
* Epochs of transactional ids are forgotten when it ends; transactions that are open then are aborted.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ecounters.errors import Stop
from streams.kafka.topics import EVENTS_CONFIG, MIB
from streams.local.children import Child
from streams.local.ports import LOCAL, free_ports
from streams.settings.table import Settings

SERVER: Final = "server"
START_LIMIT_S: Final = 60.0
"""It answers when it has read its data: 2 s for 100 MB."""
STOP_LIMIT_S: Final = 30.0
"""It writes its data first. Killed in that, it has what it wrote a second before."""
ANSWER_LIMIT_S: Final = 1.0
POLL_S: Final = 0.05

EVENTS_KEPT_BYTES: Final = 16 * MIB
"""Of each partition. All that is kept is written once a second, at four bytes for one: 50 MB take half a processor."""

_API_VERSIONS: Final = struct.pack(">hhih", 18, 0, 1, -1)
"""Kafka's smallest request: ApiVersions, version 0, correlation id 1, no client id."""


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
