"""The bytes of Server-Sent Events, and of the HTTP chunks that carry them."""

from __future__ import annotations

from typing import Final, NamedTuple

COMMENT: Final = b":\n\n"
"""An SSE comment. Clients ignore it; it keeps proxies from closing a connection that seems idle."""


class Frame(NamedTuple):
    """The same bytes in the two forms in which connections take them, made once for all listeners.

    ``plain``: for HTTP/1.0, where the body ends with the connection. ``chunk``: as one chunk of a chunked body.
    """

    plain: bytes
    chunk: bytes

    @classmethod
    def of(cls, content: bytes) -> Frame:
        """The frame of some bytes, which must not be empty: an empty chunk would end the body."""
        return cls(content, b"%x\r\n%b\r\n" % (len(content), content))


def sse_event(data: bytes, name: str = "", version: str = "") -> bytes:
    """One SSE event.

    ``data``: JSON without line breaks. ``name``: the event's type; "" is the default type, `message`. ``version``: the
    event's id. A client that connects again sends the last id as Last-Event-ID; "" leaves that id as it is.
    """
    lines = []
    if name:
        lines.append(b"event: " + name.encode())
    if version:
        lines.append(b"id: " + version.encode())
    lines.append(b"data: " + data)
    return b"\n".join(lines) + b"\n\n"


def sse_retry(retry_ms: int) -> bytes:
    """The SSE field that tells a client how long to wait, in ms, before it connects again."""
    return b"retry: %d\n\n" % retry_ms
