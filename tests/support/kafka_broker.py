"""One node of an Apache Kafka cluster for tests: its process, ports and data."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka.protocol.metadata import MetadataResponse_v1

from streams.local.children import Child, Guard
from streams.local.ports import LOCAL

STOP_LIMIT_S: Final = 30.0
ANSWER_LIMIT_S: Final = 2.0


# $0: data directory, $1: configuration, $2: cluster id, $3: options that make users, the rest: Java. exec turns the
# shell into the broker: both have one pid. Formatting takes as long as the start, so it happens here, in all nodes at
# the same time.
_START: Final = """
data=$0 config=$1 cluster=$2 users=$3
shift 3
[ -e "$data/meta.properties" ] || "$@" kafka.tools.StorageTool format -t "$cluster" -c "$config" $users || exit
exec "$@" kafka.Kafka "$config"
"""


_METADATA: Final = struct.pack(">hhihi", 3, 1, 1, -1, -1)
"""A Metadata request: version 1, correlation id 1, no client id, all topics."""


class Broker:
    """One node, broker and controller at once. It keeps data and ports while its process is killed and started.

    ``far``: (port, advertised port) of a second listener, for a relay in between. ``secured``: name of a further
    listener -> port. ``logs``: one file for each start.
    """

    def __init__(
        self,
        data: Path,
        node: int,
        ports: Sequence[int],
        guard: Guard,
        far: tuple[int, int] | None = None,
        secured: Mapping[str, int] | None = None,
    ) -> None:
        self.node = node
        self.far = far
        self.secured = dict(secured or {})
        self.port, self.controller_port = ports
        self.paused = False
        self.logs: list[Path] = []
        self._data = data
        self._guard = guard
        self._child: Child | None = None

    @property
    def runs(self) -> bool:
        """Whether it has a process, paused or not."""
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int:
        """The id of its process. AssertionError without one."""
        assert self._child is not None
        return self._child.pid

    def start(
        self, java_command: Sequence[str], cluster_id: str, settings: Mapping[str, object], users: str = ""
    ) -> None:
        """Start the process; returns before it is ready. An empty data directory is formatted first.

        ``settings``: of all nodes; those of this node are added. ``users``: options of the formatting.
        """
        near = [f"PLAINTEXT://{LOCAL}:{self.port}", *(f"{name}://{LOCAL}:{at}" for name, at in self.secured.items())]
        listeners = [*near, f"CONTROLLER://{LOCAL}:{self.controller_port}"]
        own = {"node.id": self.node, "log.dirs": self._data}
        if self.far is not None:
            port, told = self.far
            listeners.append(f"FAR://{LOCAL}:{port}")
            own["advertised.listeners"] = ",".join([*near, f"FAR://{LOCAL}:{told}"])
        own["listeners"] = ",".join(listeners)
        config = self._data.with_suffix(".properties")
        config.write_text("".join(f"{name}={value}\n" for name, value in {**settings, **own}.items()))
        # A new file for each start: Child empties its file, and errors before a kill are wanted.
        self.logs.append(self._data.with_suffix(f".{len(self.logs)}.log"))
        command = ["/bin/sh", "-c", _START, str(self._data), str(config), cluster_id, users, *java_command]
        self._child = Child(f"kafka-{self.node}", command, self.logs[-1])
        self._guard.watch(self._child)

    def end(self, how: signal.Signals) -> None:
        """End the process, if there is one: SIGKILL, or SIGTERM for an orderly end."""
        if self._child is not None:
            self.resume()
            _ = self._child.kill() if how == signal.SIGKILL else self._child.end(STOP_LIMIT_S)
            self._guard.release(self._child)
            self._child = None

    def pause(self) -> None:
        """Stop the process with SIGSTOP; its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Continue the process, if it is paused."""
        if self.paused and self._child is not None:
            os.kill(self._child.pid, signal.SIGCONT)
        self.paused = False

    def metadata(self) -> Any:
        """The node's reply to a Metadata request: brokers and topics. None if it does not reply."""
        try:
            with socket.create_connection((LOCAL, self.port), ANSWER_LIMIT_S) as connection:
                connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
                with connection.makefile("rb") as reply:
                    (size,) = struct.unpack(">i", reply.read(4))
                    return MetadataResponse_v1.decode(reply.read(size)[4:])
        except (OSError, struct.error, ValueError):  # nothing listens, or the connection ended early
            return None

    def complaint(self) -> str | None:
        """The last errors of its log, if its process has ended by itself."""
        if self._child is None or self._child.exit_code is None:
            return None
        lines = self.logs[-1].read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.search(r" ERROR |^\S.*(Exception|Error)\b", line)]
        return f"exit {self._child.exit_code}: {' / '.join(errors[:2] or self._child.last_lines())}"
