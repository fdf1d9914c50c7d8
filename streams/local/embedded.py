"""The embedded server, a broker and store in one process, for ``ecounters run`` and for the tests.

The server is noida-db, one small binary that speaks the protocols of Kafka and Redis. It is not for production:

* It keeps all data in memory. Once a second, and when it ends, it writes all of it to one file, without fsync. So
  ``stop`` loses nothing, and ``kill`` loses what was acknowledged in about the last second.
* It listens on 127.0.0.1 and has no passwords. Besides the ports of Kafka and Redis it has a third one, for its own
  command ``noida-db status``.
* When it ends, it forgets the epochs of transactional ids and aborts open transactions.
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

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ecounters.errors import Stop
from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.topic_checks import MIB
from streams.kafka.topics import EVENTS_CONFIG
from streams.local.children import Child
from streams.local.ports import LOCAL, free_ports
from streams.settings.table import Settings

SERVER: Final = "server"
"""The server's name as a child."""
START_LIMIT_S: Final = 60.0
"""How long ``wait`` waits by default. A server serves only after it has read its data: about 2 s for 100 MB."""
STOP_LIMIT_S: Final = 30.0
"""How long ``stop`` waits before it kills the server. The server writes all data before it ends. If it is killed during
that, the file holds the data of the last complete write, about a second old."""
REPLY_LIMIT_S: Final = 1.0
"""How long ``wait`` waits for the connection, and for each piece of a reply, when it probes the server."""
POLL_S: Final = 0.05
"""Pause between two probes."""

EVENTS_KEPT_BYTES: Final = 16 * MIB
"""The topic of events keeps so many bytes per partition. The server writes all data once a second, four bytes for each
byte that it keeps: 50 MB of events take half a processor."""

_API_VERSIONS: Final = struct.pack(">hhih", 18, 0, 1, -1)
"""Kafka's smallest request: ApiVersions, version 0, correlation id 1, no client id."""


class Embedded:
    """A server process. ``start`` makes one and waits until it serves; ``launch`` makes one and does not wait.

    ``child``: the process. ``kafka_port``, ``redis_port``: the server's TCP ports on 127.0.0.1.
    """

    def __init__(self, child: Child, kafka_port: int, redis_port: int) -> None:
        self.child = child
        self.kafka_port = kafka_port
        self.redis_port = redis_port

    @classmethod
    def launch(
        cls,
        data_dir: Path,
        kafka_port: int = 0,
        redis_port: int = 0,
        log: Path | None = None,
        inherited_fds: Sequence[int] = (),
    ) -> Self:
        """Start a server on the data in ``data_dir``, if there is any, and return at once.

        Port 0 stands for any free port. ``log``: the file of the server's output, by default beside ``data_dir``, with
        ".log" after its name. ``inherited_fds``: see ``Child``. Raises Stop if the server is not installed.
        """
        kafka_port, redis_port = (
            port or free for port, free in zip((kafka_port, redis_port), free_ports(2), strict=True)
        )
        options = ["--host", LOCAL, "--kafka-port", str(kafka_port), "--redis-port", str(redis_port)]
        command: list[str | Path] = [_program(), "start", "--data-dir", data_dir, "--only", "redis,kafka", *options]
        log = log or data_dir.with_name(data_dir.name + ".log")
        return cls(Child(SERVER, command, log, inherited_fds=inherited_fds), kafka_port, redis_port)

    @classmethod
    def start(cls, data_dir: Path, kafka_port: int = 0, redis_port: int = 0, log: Path | None = None) -> Self:
        """Start a server and wait until it serves. If that fails, raises Stop and leaves no server running."""
        server = cls.launch(data_dir, kafka_port, redis_port, log)
        try:
            server.wait()
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def broker(self) -> str:
        """The address of Kafka, as a value of ECOUNTERS_BROKER."""
        return f"{LOCAL}:{self.kafka_port}"

    @property
    def redis_url(self) -> str:
        """The address of Redis, as a value of ECOUNTERS_REDIS."""
        return f"redis://{LOCAL}:{self.redis_port}/0"

    def wait(self, limit_s: float = START_LIMIT_S) -> None:
        """Block until the server serves Kafka and Redis.

        Raises Stop, with the last lines of the server's output, if it ends or takes longer than ``limit_s``.
        """
        deadline = time.monotonic() + limit_s
        while not self._serves():
            if self.child.exit_code is not None:
                raise Stop(f"the embedded broker and store ended at once: {self._last_output()}")
            if time.monotonic() > deadline:
                raise Stop(f"the embedded broker and store gave no answer in {limit_s:g} s: {self._last_output()}")
            time.sleep(POLL_S)

    def _serves(self) -> bool:
        """Whether the server replies to a request of Kafka and to one of Redis.

        A connection alone proves nothing: the server accepts connections before it has read its data.
        """
        request = struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS
        return _reply_to(self.kafka_port, request, 8)[4:] == _API_VERSIONS[4:8] and (
            _reply_to(self.redis_port, b"PING\r\n", 7) == b"+PONG\r\n"
        )

    def _last_output(self) -> str:
        """The last lines of the server's output, as one line. If errors or hints are among them, only these."""
        lines = self.child.last_lines()
        errors = [line for line in lines if line.startswith(("error", "hint"))]
        return " / ".join(errors or lines) or "it said nothing"

    def stop(self) -> int:
        """End the server with SIGTERM, so that it saves all data. Blocks; returns the exit code.

        Kills the server after STOP_LIMIT_S.
        """
        return self.child.end(STOP_LIMIT_S)

    def kill(self) -> int:
        """End the server with SIGKILL, to act like a crash: about the last second of data may be lost.

        Returns the exit code.
        """
        return self.child.kill()


async def limit_event_retention(settings: Settings) -> None:
    """Let the topic of events keep only EVENTS_KEPT_BYTES per partition: the embedded server has all of it in memory.

    Raises KafkaError if the server cannot be reached.
    """
    limits = {"retention.bytes": str(EVENTS_KEPT_BYTES), "segment.bytes": str(2 * MIB)}
    topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic, configs={**EVENTS_CONFIG, **limits})
    async with admin_client(Kafka.of(settings)) as admin:
        await admin.alter_configs([topic])


def _reply_to(port: int, request: bytes, count: int) -> bytes:
    """Send a request to a port of this machine.

    Returns the first ``count`` bytes of the reply, or fewer if the connection fails, ends, or is silent for
    REPLY_LIMIT_S.
    """
    reply = b""
    try:
        with socket.create_connection((LOCAL, port), timeout=REPLY_LIMIT_S) as connection:
            connection.sendall(request)
            while len(reply) < count and (more := connection.recv(count - len(reply))):
                reply += more
    except OSError:
        pass
    return reply


def _program() -> Path:
    """Return the path of the server's binary. Set its executable bits if they are missing, because pip does not.

    Raises Stop if the package is not installed.
    """
    spec = importlib.util.find_spec("noida_db")
    if spec is None or spec.origin is None:
        raise Stop("the embedded broker and store is not installed: pip install 'ecounters[embedded]'")
    program = Path(spec.origin).with_name("noida-db")
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    return program
