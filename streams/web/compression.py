"""An answer as a response: nothing, if its bytes are there already; else the bytes, compressed where that is worth it.

The ETag is that of the plain body, whatever is sent: it is a weak one, so that is what it says.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import brotli
from aiohttp import web

from streams.web.replies import Reply
from streams.web.responses import json_response

WORTH_BYTES: Final = 1_024
"""A smaller body fits into a packet as it is, and goes out as the vendor's sample does."""
LONG_BYTES: Final = 65_536
"""A larger body takes milliseconds to compress, which other requests need not wait for."""
KEPT_BYTES_MAX: Final = 16_000_000
"""Compressed bodies that are kept, so that an unchanged answer is compressed once."""

CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    # The levels of those who compress while somebody waits; the highest take 100 times as long for a tenth less.
    "br": lambda content: brotli.compress(content, mode=brotli.MODE_TEXT, quality=5),
    "gzip": lambda content: gzip.compress(content, 5, mtime=0),
}
"""How a body may be sent, the better one first."""


class Sender:
    """Makes responses of answers. Keeps what it has compressed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._kept_bytes = 0

    async def response(self, request: web.Request, answer: Reply) -> web.Response:
        """The response to a request that an answer was made for: 304 or 200."""
        headers, content = dict(answer.headers), answer.body
        worth = len(content) >= WORTH_BYTES
        if worth:
            headers["Vary"] = "Origin, Accept-Encoding"
        if _matches(request.headers.get("If-None-Match", ""), answer.etag):
            return web.Response(status=304, headers=headers)
        coding = chosen(request.headers.getall("Accept-Encoding", [])) if worth else None
        if coding is not None:
            headers["Content-Encoding"] = coding
            content = await self._compressed(coding, answer)
        return json_response(content, headers)

    async def _compressed(self, coding: str, answer: Reply) -> bytes:
        key = (answer.etag, coding)
        content = self._kept.get(key)
        if content is not None:
            self._kept.move_to_end(key)
            return content
        compress = CODINGS[coding]
        long = len(answer.body) > LONG_BYTES
        content = await asyncio.to_thread(compress, answer.body) if long else compress(answer.body)
        if key not in self._kept:  # another request may have been quicker meanwhile
            self._kept[key] = content
            self._kept_bytes += len(content)
        while self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return content


def chosen(accepted: list[str]) -> str | None:
    """The coding for these Accept-Encoding headers; None: as it is."""
    weights: dict[str, float] = {}
    for part in ",".join(accepted).split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip().lower()] = _weight(parameter)
    best = max(CODINGS, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    weight = weights.get(best, weights.get("*", 0.0))
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameter: str) -> float:
    """The weight in ``q=0.5``; 1 if there is none, 0 if it makes no sense."""
    if not parameter.strip():
        return 1.0
    name, _, text = parameter.partition("=")
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if name.strip().lower() == "q" and 0.0 <= weight <= 1.0 else 0.0


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether the client has that answer already; by RFC 9110 it does not matter here whether a tag is weak."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
