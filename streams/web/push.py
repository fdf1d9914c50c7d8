"""Push: one user's counters as Server-Sent Events, the same bytes as the answer to a POST.

Work is done by subject, which is an account and what it asks for: one look a second, whose bytes all its listeners
share. A listener costs a suspended coroutine and, when there is news, one write that never waits: whoever reads too
slowly skips versions, and whoever does not read at all is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from aiohttp import HttpVersion11, hdrs, web

from ecounters.errors import INTERNAL, INVALID_PARAMETER, RequestRefused
from ecounters.query.request import Query, parse_request
from streams.access.sessions import Account
from streams.basics.times import now_ms
from streams.metrics.catalogue import Metrics
from streams.web.replies import Reply
from streams.web.responder import Authorize
from streams.web.responses import COMMON_HEADERS, error_body

log = logging.getLogger(__name__)

Answerer = Callable[[Account, Query, int], Awaitable[Reply]]
"""The answer to a request at a time in ms, or Refused: 503 while the partition is elsewhere."""

COOKIE: Final = "ecounters"
"""Of the dashboard: its value is an ssid."""
LOOK_S: Final = 1.0
STATUS_S: Final = 5.0
"""A status is sent so often, whatever happens: a page takes the silence of a few of these for a lost connection."""
LOOK_BEHIND_S: Final = STATUS_S / 2
"""The longest between two looks at a partition that is behind: what it has to tell is old by more than a second in any
case, and to catch up matters more."""
COMMENT_S: Final = 15.0
CHECK_S: Final = 30.0
"""So often a listener's session is looked up again: a closed one is heard for so much longer, no more. Most of what an
idle listener costs is this."""
CHECKS_AT_ONCE: Final = 8
"""More would wait for one another in Redis longer than one may: all are due at once after a pause."""
STUCK_S: Final = 30.0
"""A listener that takes nothing for so long, or whose network is gone, is dropped."""
SEND_BUFFER_BYTES: Final = 65_536
"""What the kernel keeps for one listener; by itself it would go up to some megabytes."""
LOT: Final = 100
"""Listeners written to at a stretch, before the feed gets its turn."""
RETRY_MS: Final = (1_000, 3_000)
"""When a client is to come again: spread, so that a worker's listeners do not come to the next one all at once."""

PARAMETERS: Final = ("ssid", "filter", "Field", "fields")
HEADERS: Final = {
    **COMMON_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": "ecounters",  # aiohttp's own word for it is there when the stream begins
    # nginx would keep events back otherwise.
    "X-Accel-Buffering": "no",
}


def parse_query(query: Mapping[str, str], fields: list[str], cookie: str | None) -> Query:
    """The request that a URL stands for, by the rules of a POST's body, or Refused.

    ``query``: ssid, and filter as JSON text; ``fields``: each value of Field, with commas as may be. Without an ssid
    the cookie's is taken.
    """
    names = [name for name, _ in query.items()]  # of a MultiDict these alone come as often as they were given
    for name in names:
        if name in ("userId", "token"):
            raise RequestRefused(
                INVALID_PARAMETER, f"{name} is not taken in a URL, which others get to see: open a session"
            )
        if name not in PARAMETERS:
            raise RequestRefused(INVALID_PARAMETER, f"unknown parameter {orjson.dumps(name[:60]).decode()}")
        if name in ("ssid", "filter") and names.count(name) > 1:
            raise RequestRefused(INVALID_PARAMETER, f"{name} is given more than once")
    # A cookie's bytes may be no text at all: then it is no ssid, and not broken JSON.
    ssid = (query.get("ssid") or cookie or "").encode(errors="replace").decode()
    parts = [b'"ssid":' + orjson.dumps(ssid)]
    if "filter" in query:
        try:
            msgspec.json.decode(query["filter"])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise RequestRefused(INVALID_PARAMETER, "filter is not JSON") from None
        # As it came: what is wrong inside is found where a POST's is.
        parts.append(b'"filter":' + query["filter"].encode())
    if fields:
        parts.append(b'"Field":' + orjson.dumps([name for value in fields for name in value.split(",")]))
    return parse_request(b"{" + b",".join(parts) + b"}")


class Frame(NamedTuple):
    """Bytes to send: to HTTP/1.0 as they are, to later ones as one chunk."""

    plain: bytes
    chunk: bytes


def framed(content: bytes) -> Frame:
    """Content for all kinds of listeners, made once."""
    return Frame(content, b"%x\r\n%b\r\n" % (len(content), content))


def event(data: bytes, name: str = "", version: str = "") -> bytes:
    """One event. ``data`` is JSON and so has no line breaks."""
    head = f"event: {name}\n" if name else ""
    return f"{head}{f'id: {version}' + chr(10) if version else ''}data: ".encode() + data + b"\n\n"


def version_of(etag: str) -> str:
    """A payload's version: its ETag without the quotes. The same bytes have the same one on all workers."""
    return etag.removeprefix("W/").strip('"')


class Listener:
    """One connection. ``done``: resolved with what is to be said at its end (None: nothing)."""

    __slots__ = ("_chunked", "_stuck_at", "_transport", "done", "version")

    def __init__(self, transport: asyncio.Transport, version: str, *, chunked: bool) -> None:
        self._transport = transport
        self._chunked = chunked
        self._stuck_at = 0.0
        self.version = version
        self.done: asyncio.Future[RequestRefused | None] = asyncio.get_running_loop().create_future()

    def tell(self, version: str, news: Frame, more: Frame | None, now: float) -> bool:
        """Send what it has not got, if it has taken what it was sent before; whether something was sent."""
        transport = self._transport
        if transport.is_closing():
            self.end(None)
            return False
        if transport.get_write_buffer_size():
            self._stuck_at = self._stuck_at or now
            if now - self._stuck_at > STUCK_S:
                transport.abort()
                self.end(None)
            return False
        self._stuck_at = 0.0
        frame = news if version != self.version else more
        if frame is None:
            return False
        self.version = version
        transport.write(frame.chunk if self._chunked else frame.plain)
        return True

    def end(self, why: RequestRefused | None) -> None:
        """Let its handler end it."""
        if not self.done.done():
            self.done.set_result(why)

    @property
    def takes_more(self) -> bool:
        """Whether something can be written without waiting."""
        return not self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Give it up."""
        self._transport.abort()


class Subject:
    """What several listeners want to know. ``task`` looks once a second, as long as there are any.

    ``users``: the listeners, and those who are about to become one.
    """

    def __init__(self, account: Account, asked: Query, answer: Answerer) -> None:
        self.account = account
        self.listeners: set[Listener] = set()
        self.users = 0
        self.task: asyncio.Task[None] | None = None
        self._asked = asked
        self._answer = answer
        self._looked = asyncio.Lock()
        self._status: dict[str, Any] = {}
        self.payload = b""
        self.version = ""

    @property
    def idle(self) -> bool:
        """Whether nobody looks: not yet, or no more since a look went wrong."""
        return self.task is None or self.task.done()

    async def known(self) -> None:
        """Until there is a payload that is not older than a look; Refused if there can be none."""
        async with self._looked:
            if self.idle or not self.version:
                await self._look()
        if self._status.get("why"):
            raise RequestRefused(INTERNAL, self._status["why"], http_status=503)

    async def _look(self) -> None:
        try:
            answer = await self._answer(self.account, self._asked, now_ms())
        except RequestRefused as refused:
            if refused.http_status != 503:
                raise
            # It is elsewhere or on its way: what was sent is old, and the listeners are told so.
            self._status = {**self._status, "complete": False, "why": refused.detail}
            return
        version = version_of(answer.etag)
        if version != self.version:
            self.version, self.payload = version, event(answer.body, version=version)
        self._status = _status(answer.headers)

    def status(self) -> bytes:
        """The event that says how good the payload is."""
        return event(orjson.dumps(self._status), "status")

    def _gist(self) -> tuple[object, ...]:
        """What of the status is told at once when it changes; the rest can wait for STATUS_S."""
        told = self._status
        return told.get("complete"), told.get("range"), told.get("suspected"), told.get("lagMs", 0) // 1000

    async def run(self) -> None:
        """Look and tell, until cancelled. What goes wrong ends all listeners."""
        loop = asyncio.get_running_loop()
        why: RequestRefused | None = RequestRefused(INTERNAL)
        status_at = comment_at = loop.time()
        gist = self._gist()
        try:
            while True:
                await asyncio.sleep(self._pause_s())
                async with self._looked:
                    await self._look()
                now, more = loop.time(), b""
                if now - status_at >= STATUS_S or gist != self._gist():
                    status_at, gist, more = now, self._gist(), self.status()
                if now - comment_at >= COMMENT_S:
                    comment_at, more = now, b":\n\n" + more
                await self._tell(framed(self.payload + (more or self.status())), framed(more) if more else None, now)
        except RequestRefused as refused:
            why = refused
        except asyncio.CancelledError:
            why = None
            raise
        except Exception:
            log.exception("the listeners of a subject are ended")
        finally:
            for listener in self.listeners:
                listener.end(why)

    def _pause_s(self) -> float:
        behind_s = 0.0 if "why" in self._status else self._status.get("lagMs", 0) / 1000
        return min(max(LOOK_S, behind_s), LOOK_BEHIND_S)

    async def _tell(self, news: Frame, more: Frame | None, now: float) -> None:
        version, sent = self.version, 0
        for listener in tuple(self.listeners):
            sent += listener.tell(version, news, more, now)
            if sent >= LOT:
                sent = 0
                await asyncio.sleep(0)


def _status(headers: Mapping[str, str]) -> dict[str, Any]:
    """An answer's own headers, as an event's data."""
    return {
        "asOf": headers.get("X-Ecounters-As-Of"),
        "lagMs": int(headers["X-Ecounters-Lag-Ms"]),
        "complete": headers["X-Ecounters-Complete"] == "true",
        "suspected": int(headers["X-Ecounters-Suspected"]),
        "range": headers["X-Ecounters-Range"],
    }


class Streams:
    """All listeners of this worker."""

    def __init__(self, authorize: Authorize, answer: Answerer, metrics: Metrics) -> None:
        self._authorize = authorize
        self._answer = answer
        self._metrics = metrics
        self._subjects: dict[tuple[Account, str, tuple[str, ...]], Subject] = {}
        self._checks = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._ending = False

    def end(self) -> None:
        """End all streams and take no new ones: the worker ends."""
        self._ending = True
        for subject in self._subjects.values():
            for listener in subject.listeners:
                listener.end(None)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET …/stream: the payload at once, then again when it changes, until either side has enough."""
        if self._ending:
            raise RequestRefused(INTERNAL, "this worker is ending; try again shortly", http_status=503)
        fields = request.query.getall("Field", []) + request.query.getall("fields", [])
        asked = parse_query(request.query, fields, request.cookies.get(COOKIE))
        account = await self._authorize(request, asked)
        key = account, asked.filter, asked.fields
        subject = self._subjects.get(key)
        if subject is None:
            subject = self._subjects[key] = Subject(account, asked, self._answer)
        subject.users += 1
        try:
            await subject.known()
            return await self._serve(request, asked, subject)
        finally:
            subject.users -= 1
            if not subject.users:
                del self._subjects[key]
                if subject.task is not None:
                    subject.task.cancel()

    async def _serve(self, request: web.Request, asked: Query, subject: Subject) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        chunked = request.version >= HttpVersion11
        if not chunked:
            response.force_close()
        await response.prepare(request)
        transport = request.transport
        if transport is None or self._ending:
            return response
        _bound(transport)
        listener = Listener(transport, subject.version, chunked=chunked)
        subject.listeners.add(listener)
        if subject.idle:
            subject.task = asyncio.create_task(subject.run())
        self._metrics.listeners.inc()
        try:
            payload = b"" if request.headers.get(hdrs.LAST_EVENT_ID) == subject.version else subject.payload
            await response.write(b"retry: %d\n\n" % random.randint(*RETRY_MS) + payload + subject.status())
            why = await self._until_done(request, asked, subject, listener)
            if not listener.takes_more:
                listener.abort()
                return response
            if why is not None:
                await response.write(event(error_body(why), "end"))
            response.force_close()
            await response.write_eof()
        except ConnectionError:
            pass  # the other side has gone, which is how most streams end
        finally:
            subject.listeners.discard(listener)
            self._metrics.listeners.dec()
        return response

    async def _until_done(
        self, request: web.Request, asked: Query, subject: Subject, listener: Listener
    ) -> RequestRefused | None:
        """Wait for its end, and look now and then whether its sender may still ask."""
        while True:
            await asyncio.wait([listener.done], timeout=random.uniform(0.8, 1.0) * CHECK_S)
            if listener.done.done():
                return listener.done.result()
            try:
                async with self._checks:
                    account = await self._authorize(request, asked)
            except RequestRefused as refused:
                return refused
            if account != subject.account:
                return None  # in another zone since: the client comes again


def _bound(transport: asyncio.Transport) -> None:
    """Keep what the kernel does for one listener small, and let it notice a network that has gone."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_S * 1000))
