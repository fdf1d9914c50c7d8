"""aiohttp's server, with what happens below the handlers in the documented form: what is no HTTP, and slow clients."""

from __future__ import annotations

import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import (
    BadHttpMessage,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)

from streams.web.responses import failure, in_form, plain_error, with_common_headers

log = logging.getLogger(__name__)

IDLE_LIMIT_S: Final = 75.0
"""A connection without a whole request's head for so long is closed. More than proxies keep theirs (60 s)."""
LINGER_LIMIT_S: Final = 5.0
"""So long the rest of a request that was refused is read and thrown away, or its sender would not see the answer."""


class Connection(web.RequestHandler):
    """aiohttp's, but for what errors look like."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, and to what no handler foresaw; the connection is closed after it."""
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("the answer has begun already, or nobody waits for it")
        response = plain_error(status, _reason(exc)) if status < 500 else failure(exc)
        with_common_headers(response)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log what went wrong on our side; that a sender breaks off, or breaks its own coding, is not that."""
        if not isinstance(options.get("exc_info"), (web.RequestPayloadError, HttpProcessingError, ConnectionError)):
            super().log_exception(*args, **options)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; aiohttp's own ones (417 is given before any handler) get our form."""
        if isinstance(resp, web.HTTPException):
            resp = in_form(resp)
            with_common_headers(resp)
        return await super().finish_response(request, resp, start_time)


def _reason(exc: BaseException | None) -> str:
    """What is wrong, without the sender's bytes and without aiohttp's words for them."""
    if isinstance(exc, LineTooLong):
        why = "the address or a header is too long"
    elif isinstance(exc, InvalidURLError) or not isinstance(exc, BadHttpMessage):
        why = "the address is none"
    else:
        why = exc.message.split(":\n")[0].strip().rstrip(".")
    return f"this is no valid HTTP: {why}"


class Server(web.Server):
    """aiohttp's, of our connections."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on our server."""

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        return Server(
            made.request_handler,
            request_factory=made.request_factory,
            access_log=None,
            keepalive_timeout=IDLE_LIMIT_S,
            lingering_time=LINGER_LIMIT_S,
            # A coded body is refused. aiohttp would unpack it as it comes, before any handler could: a few bytes of br
            # become gigabytes, and nobody else is answered meanwhile.
            auto_decompress=False,
        )
