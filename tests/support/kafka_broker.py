"""One node of Apache Kafka for tests: its process, its ports, and what it knows of its cluster."""

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


# $0 is the data, $1 the configuration, $2 the cluster, and the rest Java. The shell becomes the broker, so that one pid
# is both; formatting is not the broker's own work, and takes as long as its start, so all nodes do it at the same time.
_START: Final = """
data=$0 config=$1 cluster=$2
shift 2
[ -e "$data/meta.properties" ] || "$@" kafka.tools.StorageTool format -t "$cluster" -c "$config" || exit
exec "$@" kafka.Kafka "$config"
"""


_METADATA: Final = struct.pack(">hhihi", 3, 1, 1, -1, -1)
"""Metadata, version 1, correlation id 1, no client id, of all topics."""


class Broker:
    """One node, broker and controller at once: its data, its ports, and its process while it has one."""

    def __init__(
        self, data: Path, node: int, ports: Sequence[int], guard: Guard, far: tuple[int, int] | None = None
    ) -> None:
        self.node = node
        self.far = far
        self.port, self.controller_port = ports
        self.paused = False
        self.logs: list[Path] = []
        self._data = data
        self._guard = guard
        self._child: Child | None = None

    @property
    def runs(self) -> bool:
        """It has a process, paused or not."""
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int:
        """Its process's id."""
        assert self._child is not None
        return self._child.pid

    def start(self, java_command: Sequence[str], cluster_id: str, settings: Mapping[str, object]) -> None:
        """Begin to start it, on the data that it has or on a directory formatted anew. ``settings``: of all nodes."""
        own = {
            "node.id": self.node,
            "listeners": f"PLAINTEXT://{LOCAL}:{self.port},CONTROLLER://{LOCAL}:{self.controller_port}",
            "log.dirs": self._data,
        }
        if self.far is not None:
            near, (port, told) = f"PLAINTEXT://{LOCAL}:{self.port}", self.far
            own["listeners"] = f"{own['listeners']},FAR://{LOCAL}:{port}"
            own["advertised.listeners"] = f"{near},FAR://{LOCAL}:{told}"
        config = self._data.with_suffix(".properties")
        config.write_text("".join(f"{name}={value}\n" for name, value in {**settings, **own}.items()))
        # Child empties its file, and what it said before it was killed is wanted.
        self.logs.append(self._data.with_suffix(f".{len(self.logs)}.log"))
        command = ["/bin/sh", "-c", _START, str(self._data), str(config), cluster_id, *java_command]
        self._child = Child(f"kafka-{self.node}", command, self.logs[-1])
        self._guard.watch(self._child)

    def end(self, how: signal.Signals) -> None:
        """SIGKILL, or SIGTERM for an end in order; nothing if it has none to end."""
        if self._child is not None:
            self.resume()
            _ = self._child.kill() if how == signal.SIGKILL else self._child.end(STOP_LIMIT_S)
            self._guard.release(self._child)
            self._child = None

    def pause(self) -> None:
        """It does nothing any more, and its connections stay."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """It goes on."""
        if self.paused and self._child is not None:
            os.kill(self._child.pid, signal.SIGCONT)
        self.paused = False

    def metadata(self) -> Any:
        """What it knows of the cluster: brokers and topics. None: it gives no answer."""
        try:
            with socket.create_connection((LOCAL, self.port), ANSWER_LIMIT_S) as connection:
                connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
                with connection.makefile("rb") as answer:
                    (size,) = struct.unpack(">i", answer.read(4))
                    return MetadataResponse_v1.decode(answer.read(size)[4:])
        except (OSError, struct.error, ValueError):  # it is not there, or went away amid the answer
            return None

    def complaint(self) -> str | None:
        """Its last words, if it has ended by itself."""
        if self._child is None or self._child.exit_code is None:
            return None
        lines = self.logs[-1].read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.search(r" ERROR |^\S.*(Exception|Error)\b", line)]
        return f"exit {self._child.exit_code}: {' / '.join(errors[:2] or self._child.last_lines())}"
