"""No request keeps a worker's event loop busy for long, whatever is in it."""

from __future__ import annotations

import socket
import time

from tests.support.accounts import add_users
from tests.support.loop_pauses import LAUNCHER, Step, longest_step
from tests.support.replies import CREDENTIALS
from tests.support.request_attacks import attacks
from tests.support.workers import Deployment, Worker

BUSY_MAX = 1.5
"""In units of ``Step.busy``, of some 13 ms: the 20 ms of a core of one's own that are promised."""
TIMES = 3
"""How often a request is sent. The shortest of the longest steps counts: a virtual machine's host may take the
processor for some 10 ms now and then, and the garbage collector works now and then, but hardly each time."""


def send(port: int, content: bytes) -> bytes:
    """Send bytes over a new connection and return the first 100 of the reply; reads all of it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        begin = b""
        try:
            connection.sendall(content)
            while more := connection.recv(65_536):
                begin = (begin + more)[:100]
        except ConnectionError:  # the rest of a refused request is not read
            pass
        return begin


def sent_and_measured(worker: Worker, content: bytes) -> tuple[bytes, Step]:
    """Send bytes; returns the beginning of the reply, and the longest step of the loop meanwhile."""
    begin = send(worker.port, content)
    return begin, longest_step(worker)


def test_no_request_keeps_the_loop_busy_for_20_ms(deployment: Deployment) -> None:
    """Bombs, deep and wide JSON, large heads, tiny chunks, many requests in one connection: each step within 20 ms."""
    add_users(deployment, ["u1"])
    settings = deployment.with_settings(THROTTLE_PER_MIN=1_000_000)
    with Worker(settings, launcher=LAUNCHER).wait_ready() as worker:
        worker.ask(CREDENTIALS)
        time.sleep(1)
        longest_step(worker)
        slow = {}
        for name, content in attacks():
            begin, step = min((sent_and_measured(worker, content) for _ in range(TIMES)), key=lambda tried: tried[1])
            print(f"{step.busy_ms:6.1f} ms  {len(content):9,} bytes  {name}  {begin[:40]!r}")
            if step.busy > BUSY_MAX:
                slow[name] = step
            assert not begin.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), (name, begin)
        assert not slow
        assert worker.ask(CREDENTIALS).status == 200
        assert "Traceback" not in worker.log.read_text()
