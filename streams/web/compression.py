"""A reply as an HTTP response: 304 if the client has the reply already, else the body, compressed if that pays.

The ETag is that of the uncompressed body. It is a weak one (W/"..."), so the same ETag is right for every encoding.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import brotli
from aiohttp import web

from streams.web.replies import Reply
from streams.web.responses import json_response

COMPRESSED_BYTES_MIN: Final = 1_024
"""Smaller bodies are not compressed: they fit into one packet, and the vendor's sample is not compressed either."""
THREAD_BYTES_MIN: Final = 65_536
"""Larger bodies are compressed in a thread: that takes milliseconds, in which other requests are served."""
CACHED_BYTES_MAX: Final = 16_000_000
"""Limit of all cached compressed bodies together. A body is not compressed again while it is cached."""

CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    # Middle levels, because a client waits: brotli's highest level takes some 50 times as long.
    "br": lambda content: brotli.compress(content, mode=brotli.MODE_TEXT, quality=5),
    "gzip": lambda content: gzip.compress(content, 5, mtime=0),
}
"""Content-Encoding -> its compressor; of two that a client likes equally, the first is used."""
MATCHED_CHARACTERS_MAX: Final = 8_192
"""What is read of all If-None-Match headers of a request, which may have 800 KB. A client has one ETag or a few."""
_MARK: Final = re.compile(r'(?:--?|;)(?:gzip|br|deflate|zstd)(?=")')
"""What a proxy adds to an ETag, before the closing quote: Apache -gzip or -br, Jetty --gzip, others ;gzip. No ETag of
ours ends so: its last 27 characters are base64."""


class ReplyEncoder:
    """Makes HTTP responses of replies. Caches compressed bodies by ETag and coding."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # least recently used first
        self._cached_bytes = 0

    async def response(self, request: web.Request, reply: Reply) -> web.Response:
        """The response to ``request``: 304 without a body if the client has the reply, else 200 with the body.

        A body of COMPRESSED_BYTES_MIN or more is sent in the coding that the client likes best.
        """
        headers, content = dict(reply.headers), reply.body
        compressible = len(content) >= COMPRESSED_BYTES_MIN
        if compressible:
            headers["Vary"] = "Origin, Accept-Encoding"
        if is_matched(request.headers.getall("If-None-Match", []), reply.etag):
            return web.Response(status=304, headers=headers)
        coding = best_coding(request.headers.getall("Accept-Encoding", [])) if compressible else None
        if coding is not None:
            headers["Content-Encoding"] = coding
            content = await self._compressed(coding, reply)
        return json_response(content, headers)

    async def _compressed(self, coding: str, reply: Reply) -> bytes:
        """The reply's body in a coding, from the cache or compressed now."""
        key = (reply.etag, coding)
        content = self._cache.get(key)
        if content is not None:
            self._cache.move_to_end(key)
            return content
        compress = CODINGS[coding]
        in_thread = len(reply.body) > THREAD_BYTES_MIN
        content = await asyncio.to_thread(compress, reply.body) if in_thread else compress(reply.body)
        if key not in self._cache:  # another request may have added it during the await
            self._cache[key] = content
            self._cached_bytes += len(content)
        while self._cached_bytes > CACHED_BYTES_MAX:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return content


def best_coding(accepted: list[str]) -> str | None:
    """The coding to use for these Accept-Encoding headers; None for no compression."""
    weights: dict[str, float] = {}
    for entry in ",".join(accepted).split(","):
        name, _, parameter = entry.partition(";")
        weights[name.strip().lower()] = _weight(parameter)
    best = max(CODINGS, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    weight = weights.get(best, weights.get("*", 0.0))
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameter: str) -> float:
    """The weight in a parameter such as ``q=0.5``; 1 for no parameter, 0 for one that is no weight."""
    if not parameter.strip():
        return 1.0
    name, _, text = parameter.partition("=")
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if name.strip().lower() == "q" and 0.0 <= weight <= 1.0 else 0.0


def is_matched(if_none_match: list[str], etag: str) -> bool:
    """Whether these If-None-Match headers name the ETag or are ``*``. The comparison ignores W/, as RFC 9110 demands.

    Proxies that compress a body mark the ETag, such as ``W/"1a-…-gzip"``. They do not all take the mark off again.
    """
    header = ",".join(if_none_match)[:MATCHED_CHARACTERS_MAX]
    if header.strip() == "*":
        return True
    opaque = etag.removeprefix("W/").strip('"')
    return any(_MARK.sub("", tag.strip().removeprefix("W/")) == f'"{opaque}"' for tag in header.split(","))
