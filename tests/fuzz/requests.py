"""Target "requests": bytes over sockets to a real worker, which must reply to each, and stay as it was.

No reply is a server error, but for the documented 503; no request hangs; and at the end the worker runs, has logged no
traceback, gives good requests the replies that it gave at the beginning, and ends in order.
"""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from hypothesis import strategies as st

from tests.bench.testbed import Testbed
from tests.support.peers import SECRET, USERS, counters_request, fill, right_replies
from tests.support.request_strategies import RawRequest, raw_requests
from tests.support.workers import Worker

HANG_S: Final = 10.0
"""A worker that has not replied to a whole request for so long hangs."""
PATIENCE_S: Final = 0.2
"""How long the reply to a request is waited for that may have no end."""
LOOK_EVERY: Final = 100
"""After so many requests the good replies are compared."""
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) ")


class Requests:
    """The target. Use it in a ``with`` block, which starts a broker, a store and a worker, and ends them."""

    name: ClassVar[str] = "requests"
    inputs: ClassVar[st.SearchStrategy[Any]] = raw_requests()

    def __init__(self) -> None:
        self._exits = ExitStack()
        self._worker: Worker
        self._good: dict[str, bytes] = {}
        self._tried = 0

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            testbed = exits.enter_context(Testbed())
            # So many wrong credentials are allowed that 429 hides nothing else.
            deployment = testbed.deployment().with_settings(SECRET=SECRET, THROTTLE_PER_MIN=1_000_000)
            testbed.make_topics(deployment)
            fill(deployment)
            self._worker = exits.enter_context(testbed.worker(deployment)).wait_ready()
            self._good = right_replies([self._worker])
            self._exits = exits.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exits.close()

    def check(self, given: RawRequest) -> None:
        """AssertionError for a reply that no client may get; OSError if the worker cannot be reached."""
        self._tried += 1
        content = self._reply(given)
        if given.whole:
            assert content, "no reply"
        if content:
            self._look_at(content)
        if self._tried % LOOK_EVERY == 0:
            self._look_at_worker()

    def finish(self) -> None:
        """AssertionError if the worker is not as it was, or does not end in order."""
        self._look_at_worker()
        self._worker.end()

    def told(self, given: RawRequest) -> str:
        """The request."""
        return f"{given.content!r}"

    def _look_at(self, content: bytes) -> None:
        head, _, body = content.partition(b"\r\n\r\n")
        found = _STATUS.match(content)
        assert found is not None, content[:300]
        status = int(found[1])
        assert status < 500 or (status == 503 and b"\r\nretry-after: " in head.lower()), content[:2_000]
        if status >= 400 and body.startswith(b"{"):
            error = json.loads(body)
            assert error["status"] == "error" and error["code"] != 1032, error
        assert b"Traceback" not in body and b"object at 0x" not in body, content[:2_000]

    def _look_at_worker(self) -> None:
        worker = self._worker
        assert worker.process.poll() is None, worker.log_tail()
        for user in USERS:
            reply = worker.ask(counters_request(user))
            assert (reply.status, reply.body) == (200, self._good[user]), (user, reply)
        assert "Traceback" not in worker.log.read_text(errors="replace"), worker.log_tail()

    def _reply(self, given: RawRequest) -> bytes:
        """The worker's reply, without what follows in a stream; b"" if a request without an end gets none."""
        with socket.create_connection(("127.0.0.1", self._worker.port), timeout=HANG_S) as connection:
            connection.settimeout(HANG_S if given.whole else PATIENCE_S)
            with suppress(ConnectionError):  # the worker may refuse a request before it has it all
                connection.sendall(given.content)
            got = b""
            while not _is_complete(got, given.method):
                try:
                    more = connection.recv(65_536)
                except TimeoutError:
                    assert not given.whole, f"no end of the reply within {HANG_S:g} s: {got[:300]!r}"
                    return got if _STATUS.match(got) else b""
                except ConnectionError:
                    return got
                if not more:
                    return got
                got += more
            return got


def _is_complete(got: bytes, method: str) -> bool:
    """Whether a reply is at its end, as far as its head tells: a stream and an interim reply have no body here."""
    head, end, body = got.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    if b"text/event-stream" in head or method == "HEAD":
        return True
    return length is not None and len(body) >= int(length[1])
