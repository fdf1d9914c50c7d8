"""A process that asks good questions at a steady rate, and whether the worker is ready once a second.

The job: port, home (the address of the client), bodies (of the questions, asked in turn), per_s, seconds, worker
(its pid). The result: latencies of the questions as (ms until the last byte had come, ms for which threads of the
worker had waited for a processor), statuses of questions and of /readyz, what else was answered, the share of the time
for which the worker's main thread waited for a processor.

What is measured is the worker. So the kernel says when the last byte came, whenever this process gets to read it. And
where more processes want to run than there are processors, the worker waits its turn: the kernel says for how long.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from streams.web.paths import READY_PATH
from tests.support.attacks.helper import Job, serve
from tests.support.attacks.worker_clock import LOOK_S, WorkerClock
from tests.support.workers import PATH

SO_TIMESTAMPNS: Final = 35
"""Linux: with what is received comes the time at which it came. The module socket has no name for this."""
TIMESPEC: Final = struct.Struct("qq")
END_S: Final = 10.0
"""How long the last replies are waited for."""


class Connection:
    """A kept connection: sends one request at a time, and reads the reply."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.what = ""
        self.sent_ns = 0
        self.waits_ms: dict[str, float] = {}
        self._got = b""
        self._length = 0
        self._came_ns = 0

    def send(self, what: str, request: bytes, waits_ms: dict[str, float]) -> None:
        """Send a request. ``waits_ms``: how long each thread of the worker had waited for a processor so far."""
        self.what, self.waits_ms, self._got, self._length = what, waits_ms, b"", 0
        self.sent_ns = time.time_ns()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, float] | None:
        """(status, ms from sending until the last byte came) if the reply is complete. OSError if it never will be."""
        content, ancillary, _, _ = self.socket.recvmsg(65_536, 64)
        if not content:
            raise ConnectionResetError(f"closed after {self._got[:200]!r}")
        for _, _, stamp in ancillary:
            seconds, ns = TIMESPEC.unpack(stamp[: TIMESPEC.size])
            self._came_ns = seconds * 1_000_000_000 + ns
        self._got += content
        if not self._length:
            head, end, _ = self._got.partition(b"\r\n\r\n")
            if not end:
                return None
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            self._length = len(head) + len(end) + int(length.partition(b":")[2])
        if len(self._got) < self._length:
            return None
        return int(self._got[9:12]), (self._came_ns - self.sent_ns) / 1e6

    @property
    def body(self) -> bytes:
        """What was answered, with its head."""
        return self._got


class Asker:
    """Asks to a schedule, whether or not earlier questions have been answered."""

    def __init__(self, job: Job) -> None:
        self._job = job
        head = f"Host: x\r\nX-Forwarded-For: {job['home']}\r\n"
        self._questions = [
            f"POST {PATH} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            for body in job["bodies"]
        ]
        self._ready = f"GET {READY_PATH} HTTP/1.1\r\n{head}\r\n".encode()
        self._clock = WorkerClock(job["worker"])
        self._idle = deque(Connection(job["port"]) for _ in range(8))
        self._busy = selectors.DefaultSelector()
        self._latencies: list[tuple[float, float]] = []
        self._statuses: dict[str, Counter[int]] = {"question": Counter(), "ready": Counter()}
        self._others: list[str] = []

    def go(self) -> Job:
        """Ask for so many seconds; returns the result."""
        per_s, seconds = self._job["per_s"], self._job["seconds"]
        plan = [(at / per_s, "question", self._questions[at % len(self._questions)]) for at in range(per_s * seconds)]
        plan += [(at + 0.5 / per_s, "ready", self._ready) for at in range(seconds)]
        self._clock = WorkerClock(self._job["worker"])
        began = time.monotonic()
        for due, what, request in sorted(plan):
            self._receive_until(due)
            connection = self._idle.popleft() if self._idle else Connection(self._job["port"])
            connection.send(what, request, self._clock.waits_ms())
            self._busy.register(connection.socket, selectors.EVENT_READ, connection)
        waited_share = 1 - self._clock.now() / (time.monotonic() - began)
        self._receive_until(self._clock.now() + END_S, to_the_end=True)
        self._others += [f"no reply to a {key.data.what}" for key in self._busy.get_map().values()]
        return {
            "latencies": self._latencies,
            "others": self._others,
            "waited_share": waited_share,
            **self._statuses,
        }

    def _receive_until(self, due: float, *, to_the_end: bool = False) -> None:
        while (left := due - self._clock.now()) > 0:
            if to_the_end and not self._busy.get_map():
                return
            for key, _ in self._busy.select(min(left, LOOK_S)):
                self._receive(key.data)

    def _receive(self, connection: Connection) -> None:
        try:
            received = connection.receive()
        except OSError as error:
            self._busy.unregister(connection.socket)
            self._others.append(f"{connection.what}: {error!r}")
            return
        if received is None:
            return
        self._busy.unregister(connection.socket)
        status, took_ms = received
        self._statuses[connection.what][status] += 1
        if connection.what == "question":
            self._latencies.append((took_ms, self._clock.waited_ms(connection.waits_ms)))
        if status != 200:
            self._others.append(connection.body[-300:].decode(errors="replace"))
        self._idle.append(connection)


def _prepare(job: Job) -> Callable[[], Job]:
    asker = Asker(job)
    return asker.go


if __name__ == "__main__":
    serve(_prepare)
