"""The push: GET …/stream sends one user's counters as Server-Sent Events.

A payload is the body of a POST's reply. A client gets at once: retry, payload (unless it has that version), status.
After that it gets each changed payload with a status, and in between statuses and comments. ``subject`` says when each
of these is sent; ``sse`` says in what bytes.
"""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from ecounters.errors import INTERNAL, RequestRefused
from ecounters.query.request import Query
from streams.access.sessions import Account
from streams.basics.logs import REQUEST_ID, without_request
from streams.metrics.catalogue import Metrics
from streams.web.cookie import SessionCookie
from streams.web.request_ids import ID_HEADER
from streams.web.responder import Authorize
from streams.web.responses import COMMON_HEADERS, error_body
from streams.web.sse import sse_event, sse_retry
from streams.web.subject import STUCK_LIMIT_S, Listener, MakeReply, Subject
from streams.web.url_query import parse_query

AUTHORIZE_S: Final = 30.0
"""A listener is authorized again after 80 to 100 % of this time, at random. While Redis replies, a closed session is
served for about this time and ``sessions.FRESH_S`` at most. The look-up is most of what an idle listener costs."""
AUTHORIZED_AT_ONCE_MAX: Final = 8
"""How many listeners are authorized again at the same time. After a pause of the event loop all listeners are due at
once. Without this limit the look-ups of new requests would wait for all of theirs."""
SEND_BUFFER_BYTES: Final = 65_536
"""Size of the kernel's send buffer for one listener. By default the kernel lets the buffer grow to some megabytes."""
RETRY_MS: Final = (1_000, 3_000)
"""Each client gets a random time in this range, for which it waits before it connects again. So the listeners of a
worker that ends do not reach the next worker all at once."""

HEADERS: Final = {
    **COMMON_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": "ecounters",  # the stream's headers are sent before the middleware can replace aiohttp's own
    "X-Accel-Buffering": "no",  # nginx would collect bytes before it passes them on
}


class PushStreams:
    """The handler of GET …/stream for all listeners of this worker.

    Keeps one Subject for each account, filter and fields. When no request uses a subject any more, it cancels the
    subject's task and deletes the subject. Authorizes each listener again while it is connected. After ``end`` it
    refuses new streams with 503. Counts listeners in the metrics.
    """

    def __init__(self, authorize: Authorize, make_reply: MakeReply, cookie: SessionCookie, metrics: Metrics) -> None:
        self._authorize = authorize
        self._make_reply = make_reply
        self._cookie = cookie
        self._metrics = metrics
        self._subjects: dict[tuple[Account, str, tuple[str, ...]], Subject] = {}  # key: account, filter, fields
        self._authorizing = asyncio.Semaphore(AUTHORIZED_AT_ONCE_MAX)
        self._ending = False

    def end(self) -> None:
        """End all streams and refuse new ones. The worker calls this once, before it stops serving."""
        self._ending = True
        for subject in self._subjects.values():
            for listener in subject.listeners:
                listener.end(None)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET …/stream: send the stream, and return when it has ended.

        Raises RequestRefused before the stream begins: for the same reasons as a POST, and 503 after ``end``. A refusal
        of a stream that has begun is sent as the SSE event `end`.
        """
        if self._ending:
            raise RequestRefused(INTERNAL, "this worker is ending; try again shortly", http_status=503)
        cookie = "" if request.query.get("ssid") else self._cookie.ssid_of(request)
        query = parse_query(request.query, cookie)
        account = await self._authorize(request, query)
        key = account, query.filter, query.fields
        subject = self._subjects.get(key)
        if subject is None:
            subject = self._subjects[key] = Subject(account, query, self._make_reply)
        subject.references += 1
        try:
            await subject.wait_for_payload()
            return await self._serve(request, query, subject)
        finally:
            subject.references -= 1
            if not subject.references:
                del self._subjects[key]
                if subject.task is not None:
                    subject.task.cancel()

    async def _serve(self, request: web.Request, query: Query, subject: Subject) -> web.StreamResponse:
        """Begin the response, add a listener to the subject, and finish the response when the listener ends.

        Starts the subject's task if none runs. If bytes are left in the buffer at the end, the connection is aborted.
        """
        response = web.StreamResponse(headers={**HEADERS, ID_HEADER: REQUEST_ID.get()})
        chunked = request.version >= HttpVersion11
        if not chunked:
            response.force_close()
        await response.prepare(request)
        transport = request.transport
        if transport is None or self._ending:
            return response
        _limit_socket(transport)
        listener = Listener(transport, subject.version, chunked=chunked)
        subject.listeners.add(listener)
        if subject.is_idle:
            subject.task = asyncio.create_task(subject.run(), context=without_request())
        self._metrics.listeners.inc()
        try:
            payload = b"" if request.headers.get(hdrs.LAST_EVENT_ID) == subject.version else subject.payload
            await response.write(sse_retry(random.randint(*RETRY_MS)) + payload + subject.status_event())
            refusal = await self._until_ended(request, query, subject, listener)
            if not listener.is_writable:
                listener.abort()
                return response
            if refusal is not None:
                await response.write(sse_event(error_body(refusal), "end"))
            response.force_close()
            await response.write_eof()
        except ConnectionError:
            pass  # the client has closed the connection, as most streams end
        finally:
            subject.listeners.discard(listener)
            self._metrics.listeners.dec()
        return response

    async def _until_ended(
        self, request: web.Request, query: Query, subject: Subject, listener: Listener
    ) -> RequestRefused | None:
        """Wait until the listener ends, or until it is refused when it is authorized again (see AUTHORIZE_S).

        Returns the refusal to send, or None. If the account has changed, such as its time zone, returns None: the
        client connects again and gets the subject of the changed account.
        """
        while True:
            await asyncio.wait([listener.ended], timeout=random.uniform(0.8, 1.0) * AUTHORIZE_S)
            if listener.ended.done():
                return listener.ended.result()
            try:
                async with self._authorizing:
                    account = await self._authorize(request, query)
            except RequestRefused as refused:
                return refused
            if account != subject.account:
                return None


def _limit_socket(transport: asyncio.Transport) -> None:
    """Limit the kernel's send buffer, and make the kernel close a connection that takes no bytes for STUCK_LIMIT_S.

    The latter is done only where the system has TCP_USER_TIMEOUT, as Linux has.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_LIMIT_S * 1000))
