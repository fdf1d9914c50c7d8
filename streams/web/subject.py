"""What push listeners share: a subject refreshes one reply and writes it to all of its listeners.

``Subject.run`` gets the reply every REFRESH_S, more rarely while the partition is behind. The reply's ETag is its
version. Then each listener gets

    ├─ payload and status, if this version is new to it;
    ├─ else the status, if it is due or has changed, and a comment if one is due;
    └─ else nothing.

A listener whose last write is still in the buffer is skipped. It gets the newest version later, or is disconnected
after STUCK_LIMIT_S.

A listener costs a suspended coroutine, and one write for each change, status or comment. No write of a subject waits
for a client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from ecounters.errors import INTERNAL, RequestRefused
from ecounters.query.request import Query
from streams.access.sessions import Account
from streams.basics.times import now_ms
from streams.web.replies import Reply
from streams.web.sse import COMMENT, Frame, sse_event

log = logging.getLogger(__name__)

MakeReply = Callable[[Account, Query, int], Awaitable[Reply]]
"""``PeerRouter.reply``: (account, query, time now in ms) -> reply. Raises RequestRefused: 503 while no worker can reply
for the account, another status if the query is wrong."""

REFRESH_S: Final = 1.0
"""Pause between two refreshes of a subject, unless its partition is behind: a change is sent after about this time at
most."""
STATUS_S: Final = 5.0
"""A status is due this long after the last one, and is sent at the next refresh. The dashboard takes the connection for
lost when two statuses are missing."""
REFRESH_BEHIND_MAX_S: Final = STATUS_S / 2
"""The longest pause between two refreshes while the partition is behind. The counters are old then in any case, and the
time is better spent on reading events."""
COMMENT_S: Final = 15.0
"""A comment is due this long after the last one, and is sent at the next refresh."""
STUCK_LIMIT_S: Final = 30.0
"""A listener is disconnected if its buffer has not been empty at any refresh for this long."""
WRITES_PER_TURN: Final = 100
"""After so many writes to listeners, other tasks of the event loop run, such as reading events."""
BYTES_PER_TURN: Final = 4_000_000
"""They also run after so many bytes: each write copies what the kernel does not take at once."""
PAUSE_PER_WORK: Final = 3
"""A subject pauses at least so many times as long as its last refresh took: a large reply takes its time."""


class Listener:
    """One SSE connection of one client. Its subject writes to it; its request's handler waits for ``ended``.

    ``version``: the version of the payload that was written last. ``ended``: the future that ends the connection; its
    result is the refusal to send as the last SSE event, or None.
    """

    __slots__ = ("_chunked", "_stuck_since", "_transport", "ended", "version")

    def __init__(self, transport: asyncio.Transport, version: str, *, chunked: bool) -> None:
        self._transport = transport
        self._chunked = chunked
        self._stuck_since = 0.0
        self.version = version
        self.ended: asyncio.Future[RequestRefused | None] = asyncio.get_running_loop().create_future()

    def offer(self, version: str, payload: Frame, status: Frame | None, now: float) -> bool:
        """Write ``payload`` if the listener has another version, else ``status`` if there is one.

        Writes nothing while earlier bytes are in the buffer. Ends the listener if its connection is closed, or has been
        stuck for STUCK_LIMIT_S. ``now``: the event loop's clock in s. Returns whether something was written.
        """
        transport = self._transport
        if transport.is_closing():
            self.end(None)
            return False
        if transport.get_write_buffer_size():
            self._stuck_since = self._stuck_since or now
            if now - self._stuck_since > STUCK_LIMIT_S:
                transport.abort()
                self.end(None)
            return False
        self._stuck_since = 0.0
        frame = payload if version != self.version else status
        if frame is None:
            return False
        self.version = version
        transport.write(frame.chunk if self._chunked else frame.plain)
        return True

    def end(self, refusal: RequestRefused | None) -> None:
        """Set ``ended``, so that the request's handler ends the connection. Only the first call counts."""
        if not self.ended.done():
            self.ended.set_result(refusal)

    @property
    def is_writable(self) -> bool:
        """Whether the connection is open and its buffer is empty."""
        return not self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close the connection without sending what is in the buffer."""
        self._transport.abort()


class Subject:
    """One account with one query, its current payload, and the listeners that get it.

    field       meaning                                                            written by
    account     whose counters the payload has                                     constructor
    listeners   the connections that the payload is written to                     PushStreams
    references  requests that use the subject: those of the listeners, and those   PushStreams
                that wait for the first payload
    task        runs ``run``, from the first listener until there is no            PushStreams
                reference any more; None before the first listener
    payload     the last reply as an SSE event; empty until there is a reply       Subject
    version     the payload's version; "" until there is a reply                   Subject
    """

    def __init__(self, account: Account, query: Query, make_reply: MakeReply) -> None:
        self.account = account
        self.listeners: set[Listener] = set()
        self.references = 0
        self.task: asyncio.Task[None] | None = None
        self.payload = b""
        self.version = ""
        self._query = query
        self._make_reply = make_reply
        self._refreshing = asyncio.Lock()
        self._took_s = 0.0  # the last refresh
        # See _status_of. After a refresh that was refused with 503, "why" is added and "complete" is False.
        self._status: dict[str, Any] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no task refreshes the subject: no task was started yet, or the task has ended."""
        return self.task is None or self.task.done()

    async def wait_for_payload(self) -> None:
        """Return when the payload is as of the last refresh. Refreshes now if there is no payload or no running task.

        Raises RequestRefused as MakeReply does; 503 also if the last refresh was refused with 503.
        """
        async with self._refreshing:
            if self.is_idle or not self.version:
                await self._refresh()
        if self._status.get("why"):
            raise RequestRefused(INTERNAL, self._status["why"], http_status=503)

    async def _refresh(self) -> None:
        """Get the present reply, and set payload, version and status by it. Hold ``_refreshing``.

        A refusal with 503 changes the status alone: the old payload stays. Raises any other RequestRefused.
        """
        began = time.perf_counter()
        try:
            reply = await self._make_reply(self.account, self._query, now_ms())
            self._took_s = time.perf_counter() - began
        except RequestRefused as refused:
            if refused.http_status != 503:
                raise
            self._status = {**self._status, "complete": False, "why": refused.detail}
            return
        version = version_of(reply.etag)
        if version != self.version:
            self.version, self.payload = version, sse_event(reply.body, version=version)
        self._status = _status_of(reply.headers)

    def status_event(self) -> bytes:
        """The SSE event `status`: how old and how complete the payload is."""
        return sse_event(orjson.dumps(self._status), "status")

    def _urgent_status(self) -> tuple[object, ...]:
        """The values whose change makes a status due at once (the lag in whole s). Other changes wait for STATUS_S."""
        status = self._status
        return status.get("complete"), status.get("range"), status.get("suspected"), status.get("lagMs", 0) // 1000

    async def run(self) -> None:
        """Refresh and write to the listeners until cancelled. Ends all listeners when it ends.

        A refusal other than 503 or an unforeseen error ends it too. The listeners are sent the refusal, or 1032 for an
        unforeseen error, which is logged. Their clients then connect again.
        """
        loop = asyncio.get_running_loop()
        refusal: RequestRefused | None = RequestRefused(INTERNAL)
        status_at = comment_at = loop.time()
        urgent = self._urgent_status()
        try:
            while True:
                await asyncio.sleep(self._pause_s())
                async with self._refreshing:
                    await self._refresh()
                now, extra = loop.time(), b""
                if now - status_at >= STATUS_S or urgent != self._urgent_status():
                    status_at, urgent, extra = now, self._urgent_status(), self.status_event()
                if now - comment_at >= COMMENT_S:
                    comment_at, extra = now, COMMENT + extra
                payload = Frame.of(self.payload + (extra or self.status_event()))
                await self._write(payload, Frame.of(extra) if extra else None, now)
        except RequestRefused as refused:
            refusal = refused
        except asyncio.CancelledError:
            refusal = None
            raise
        except Exception:
            log.exception("the listeners of a subject are ended")
        finally:
            for listener in self.listeners:
                listener.end(refusal)

    def _pause_s(self) -> float:
        """Seconds until the next refresh: the partition's lag, or PAUSE_PER_WORK times what the last refresh took.

        REFRESH_S at least and REFRESH_BEHIND_MAX_S at most; REFRESH_S if the last refresh was refused with 503.
        """
        behind_s = 0.0 if "why" in self._status else self._status.get("lagMs", 0) / 1000
        return min(max(REFRESH_S, behind_s, PAUSE_PER_WORK * self._took_s), REFRESH_BEHIND_MAX_S)

    async def _write(self, payload: Frame, status: Frame | None, now: float) -> None:
        """Offer the frames to all listeners. Other tasks run after WRITES_PER_TURN writes or BYTES_PER_TURN bytes."""
        version, written = self.version, 0
        most = max(1, min(WRITES_PER_TURN, BYTES_PER_TURN // len(payload.plain)))
        for listener in tuple(self.listeners):
            written += listener.offer(version, payload, status, now)
            if written >= most:
                written = 0
                await asyncio.sleep(0)


def version_of(etag: str) -> str:
    """A payload's version: its ETag without W/ and quotes. Equal payloads have equal versions on all workers."""
    return etag.removeprefix("W/").strip('"')


def _status_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """The data of a `status` event, from the headers of a reply."""
    return {
        "asOf": headers.get("X-Ecounters-As-Of"),
        "lagMs": int(headers["X-Ecounters-Lag-Ms"]),
        "complete": headers["X-Ecounters-Complete"] == "true",
        "suspected": int(headers["X-Ecounters-Suspected"]),
        "range": headers["X-Ecounters-Range"],
    }
