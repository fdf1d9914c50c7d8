"""aiohttp's server with changes below the handlers.

Its own errors have the form of the API's errors, connections have limits of time and size, bodies stay as they were
sent, other spellings of the API's paths lead to its routes, and each response is of HTTP/1.0 or 1.1.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import (
    BadHttpMessage,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)
from yarl import URL

from streams.basics.logs import REQUEST_ID
from streams.web.paths import served_path
from streams.web.request_ids import id_of, new_id
from streams.web.responses import add_common_headers, http_error, internal_error, plain_error

IDLE_LIMIT_S: Final = 75.0
"""A connection is closed if the whole head of the next request has not come within this time. Proxies often close idle
connections after 60 s: they must do so first, or they would send requests into connections that are being closed."""
LINGER_LIMIT_S: Final = 5.0
"""After a response that was sent before the whole request had come, such as a refusal, the rest of the request is read
and dropped for at most this time. If the connection were closed at once, the client might not see the response."""
SEND_LIMIT_S: Final = 30.0
"""A client must have read a response within this time plus that of its body at SLOWEST_BYTES_PER_S. Then the connection
is closed: a client that does not read would hold it, and the body of up to some MB, for ever."""
SLOWEST_BYTES_PER_S: Final = 32_768
"""Clients that read more slowly than 0.25 Mbit/s get no large response."""
RECEIVED_BYTES_MAX: Final = 16_384
"""What is received at once of a connection, and parsed in one step of the event loop. asyncio's default, 256 KB, holds
43,000 chunks of one byte, which took 70 ms."""
BUFFERED_BYTES: Final = 16_384
"""Reading of a connection pauses when so much of a body, or a quarter as many chunks, wait for the handler. They are
joined in one step."""


class Connection(web.RequestHandler):
    """One HTTP connection. Errors that occur outside of the handlers get the form of the API's errors here.

    Unforeseen exceptions are logged. Broken HTTP and clients that close the connection are not.
    """

    __slots__ = ("_feeding", "_late")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._late = bytearray()  # what was received and is not parsed yet
        self._feeding: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Limit what is received at once, by the attribute that asyncio's transports have for it.

        Transports with TLS have no such attribute: ``data_received`` takes what they give in pieces.
        A response counts as sent once the kernel has all of it, and not when 64 KB are left.
        """
        if hasattr(transport, "max_size"):
            transport.max_size = RECEIVED_BYTES_MAX
        if isinstance(transport, asyncio.Transport):
            transport.set_write_buffer_limits(0)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse what was received; of more than RECEIVED_BYTES_MAX a piece in each step of the event loop.

        A transport with TLS gives all at once that has come: 400 KB in one step, if the loop was busy for 0.1 s.
        """
        if not self._late and len(data) <= RECEIVED_BYTES_MAX:
            super().data_received(data)
            return
        self._late += data
        self._feed_later()

    def resume_reading(self, *args: Any, **options: Any) -> None:
        """Called by aiohttp when the handler has read the body so far: go on with what was received already."""
        super().resume_reading(*args, **options)
        if self._late:
            self._feed_later()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Drop what was not parsed."""
        self._late.clear()
        super().connection_lost(exc)

    def _feed_later(self) -> None:
        if self.transport is not None and self._feeding is None:
            self.transport.pause_reading()
            self._feeding = asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        """Parse one piece. Goes on with the next unless aiohttp waits for the handler (see ``resume_reading``)."""
        self._feeding = None
        piece = bytes(self._late[:RECEIVED_BYTES_MAX])
        del self._late[:RECEIVED_BYTES_MAX]
        if piece:
            super().data_received(piece)
        if self._reading_paused or self.transport is None:
            return
        if self._late:
            self._feed_later()
        elif not getattr(self, "_buffer_paused", False):  # of aiohttp 3.14: it resumes reading by itself then
            self.transport.resume_reading()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to bytes that are no HTTP (``status`` 4xx) or to an unforeseen exception (5xx, sent as 500).

        An unforeseen exception is logged. The connection is closed after the response. Raises ConnectionError if a
        response has begun already or the client is gone.
        """
        REQUEST_ID.set(id_of(request) if status >= 500 else new_id())  # what is no HTTP has no headers
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("the response has begun already, or nobody waits for it")
        response = plain_error(status, _reason(exc)) if status < 500 else internal_error(exc)
        add_common_headers(response)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log an exception, unless the client caused it by broken HTTP or by closing the connection."""
        if not isinstance(options.get("exc_info"), (web.RequestPayloadError, HttpProcessingError, ConnectionError)):
            super().log_exception(*args, **options)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response. An error that aiohttp raised before the middleware ran, such as 417, gets the API's form.

        Closes the connection if the client has not read the response in time.
        Returns what aiohttp's method returns: (the response that was sent, whether the client is gone).
        """
        if isinstance(resp, web.HTTPException):
            REQUEST_ID.set(id_of(request))
            resp = http_error(resp)
            add_common_headers(resp)
        limit_s = SEND_LIMIT_S + (resp.content_length or 0) / SLOWEST_BYTES_PER_S
        timer = asyncio.get_running_loop().call_later(limit_s, self._abort)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            timer.cancel()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _reason(exc: BaseException | None) -> str:
    """Why the bytes are no HTTP, without the client's bytes, which aiohttp's message may quote after a colon."""
    if isinstance(exc, LineTooLong):
        why = "the address or a header is too long"
    elif isinstance(exc, InvalidURLError) or not isinstance(exc, BadHttpMessage):
        why = "the address is none"
    else:
        why = exc.message.split(":\n")[0].strip().rstrip(".")
    return f"this is no valid HTTP: {why}"


def _with_served_path(message: RawRequestMessage, prefix: str) -> RawRequestMessage:
    """The same request with the path of a route in its URL, if it has another spelling of that path, or the prefix."""
    url = message.url
    path = served_path(url.raw_path, prefix)
    if path == url.raw_path:
        return message
    query, host = url.raw_query_string, url.raw_authority
    url = URL.build(scheme=url.scheme, authority=host, path=path, query_string=query, encoded=True)
    return message._replace(url=url)


def _of_a_known_version(message: RawRequestMessage) -> RawRequestMessage:
    """The same request as one of HTTP/1.0 if its first line has no version, which the parser takes for HTTP/0.9, or one
    above 1.1.

    Its response would begin with "HTTP/0.9 200 OK" or "HTTP/2.0 200 OK", which no client understands.
    """
    if HttpVersion10 <= message.version <= HttpVersion11:
        return message
    return message._replace(version=HttpVersion10, should_close=True)


class Server(web.Server):
    """aiohttp's server, with a Connection for each connection. ``is_closing``: it takes no further one."""

    is_closing = False

    def pre_shutdown(self) -> None:
        """Close connections without a request; aiohttp calls it when the ports are closed."""
        self.is_closing = True
        super().pre_shutdown()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection, or close one whose TLS handshake ends when the server closes already.

        aiohttp knows nothing of such a connection before. Its request would find no connections to Redis and to other
        workers any more. Proxies repeat it.
        """
        super().connection_made(handler, transport)
        if self.is_closing:
            handler.force_close()

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on a Server. ``prefix``: what paths may begin with; requests lose it here."""

    def __init__(self, app: web.Application, *, prefix: str = "", **options: Any) -> None:
        super().__init__(app, **options)
        self._prefix = prefix

    async def _make_server(self) -> Server:
        original = await super()._make_server()

        def request_of(message: RawRequestMessage, *args: Any) -> web.BaseRequest:
            return original.request_factory(_of_a_known_version(_with_served_path(message, self._prefix)), *args)

        return Server(
            original.request_handler,
            request_factory=request_of,
            access_log=None,
            keepalive_timeout=IDLE_LIMIT_S,
            lingering_time=LINGER_LIMIT_S,
            read_bufsize=BUFFERED_BYTES,
            # aiohttp would decompress every body as it arrives, wanted or not: a small body can become gigabytes, and
            # no other request is served meanwhile. ``body_of`` decompresses those that are wanted, to a limit.
            auto_decompress=False,
        )
