"""Decompresses request bodies, each to a limit that its sender cannot pass in size, memory or time of the event loop.

    decode = decoder_of(request.headers.getall("Content-Encoding", []))      # RequestRefused (415) for other codings
    body = await decode(content, 65_536)                                     # RequestRefused (413, 400)

A decoder stops soon behind the limit, so what a body would unpack to has no effect. All decoders of a process run in
one thread, beside the event loop, and both libraries release Python's lock meanwhile. For 64 KiB can be made so that
decoding takes some 100 ms, whatever they unpack to.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import brotli

from ecounters.errors import INTERNAL, INVALID_PARAMETER, RequestRefused
from ecounters.text import shown

Decode = Callable[[bytes, int], Awaitable[bytes]]
"""(body as it was sent, limit in bytes) -> the decoded body. Raises RequestRefused: 413 above the limit, 400 for a body
that is not in this coding, is cut off, or has bytes behind its end, 503 after DECODE_LIMIT_S."""

ONE_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="decompression")
"""Bodies are decoded one after the other, so that many of them take one processor at most."""
DECODE_LIMIT_S: Final = 5.0
"""A body that has not been decoded within this time is refused with 503: so many others wait before it."""

ZLIB, RAW_DEFLATE, GZIP = zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS + 16
"""The formats that zlib reads, as its argument ``wbits``."""
HEADER_MAX: Final = 100
"""A Content-Encoding of more characters is refused without being read: a request may have 1 MB of these headers."""
BR_WINDOW_BYTES: Final = 1 << 18
"""The largest window that br is decoded with. See ``_with_small_window``."""


def decoder_of(content_encodings: Sequence[str]) -> Decode:
    """The decoder for these Content-Encoding headers; without a coding, or with identity, the body stays as it is.

    Raises RequestRefused (415) for other codings than those in CODINGS, and for several, one over the other.
    """
    header = ",".join(content_encodings)
    codings = [coding.strip().lower() for coding in header[:HEADER_MAX].split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings and len(header) <= HEADER_MAX:
        return _as_it_is
    if len(codings) != 1 or codings[0] not in CODINGS or len(header) > HEADER_MAX:
        # A header may hold bytes that are no text.
        name = shown(header[:HEADER_MAX].encode("ascii", "replace").decode())
        raise RequestRefused(
            INVALID_PARAMETER,
            f"Content-Encoding {name} is not taken: send the body by one of gzip, deflate, br, or as it is",
            http_status=415,
        )
    unpack = CODINGS[codings[0]]

    async def decode(content: bytes, limit: int) -> bytes:
        try:
            async with asyncio.timeout(DECODE_LIMIT_S):
                return await asyncio.get_running_loop().run_in_executor(ONE_THREAD, _unpacked, unpack, content, limit)
        except TimeoutError:  # a body that still waits is not decoded any more
            raise RequestRefused(
                INTERNAL, "too many compressed bodies came at once; try again, or send it as it is", http_status=503
            ) from None

    return decode


async def _as_it_is(content: bytes, limit: int) -> bytes:
    return content


def _unpacked(unpack: Callable[[bytes, int], bytes | None], content: bytes, limit: int) -> bytes:
    """What ``unpack``, a function of CODINGS, makes of a body. Raises RequestRefused as a Decode does."""
    try:
        unpacked = unpack(content, limit + 1)
    except (zlib.error, brotli.error):
        unpacked = None
    if unpacked is None:
        raise RequestRefused(INVALID_PARAMETER, "the body is not coded as its Content-Encoding says")
    if len(unpacked) > limit:
        raise RequestRefused(
            INVALID_PARAMETER, f"the body is larger than {limit >> 10} KiB when it is unpacked", http_status=413
        )
    return unpacked


def _gunzip(content: bytes, most: int) -> bytes | None:
    """The content of a gzip file, also one of several members, as far as its first ``most`` bytes.

    None if the file ends too early. Raises zlib.error if it is damaged.
    """
    unpacked = bytearray()
    while len(unpacked) < most:
        inflate = zlib.decompressobj(GZIP)
        unpacked += inflate.decompress(content, most - len(unpacked))
        if len(unpacked) < most and not inflate.eof:
            return None
        content = inflate.unused_data
        if not content:
            break
    return bytes(unpacked)


def _inflate(content: bytes, most: int) -> bytes | None:
    """The first ``most`` bytes of deflated content: with zlib's header, as HTTP says, or without, as some clients send.

    None if it ends too early or has bytes behind its end. Raises zlib.error if it is damaged.
    """
    has_header = len(content) >= 2 and content[0] & 0x0F == zlib.DEFLATED and int.from_bytes(content[:2]) % 31 == 0
    inflate = zlib.decompressobj(ZLIB if has_header else RAW_DEFLATE)
    unpacked = inflate.decompress(content, most)
    is_whole = inflate.eof and not inflate.unused_data
    return unpacked if is_whole or len(unpacked) == most else None


def _unbrotli(content: bytes, most: int) -> bytes | None:
    """The first ``most`` bytes of content in br, and perhaps some more.

    None if it ends too early. Raises brotli.error if it is damaged or has bytes behind its end.
    """
    decompressor = brotli.Decompressor()
    unpacked = bytearray(decompressor.process(_with_small_window(content), output_buffer_limit=most))
    while not decompressor.is_finished() and len(unpacked) < most:
        more = decompressor.process(b"", output_buffer_limit=most - len(unpacked))
        if not more:
            return None
        unpacked += more
    return bytes(unpacked)


def _with_small_window(content: bytes) -> bytes:
    """The same content in br, with a window of BR_WINDOW_BYTES in its header if it had a larger one.

    The decoder fills the whole window before it gives anything out, up to 16 MB, and 29 bytes can make it do so for
    170 ms. A smaller window decodes the same bytes as long as they fit into it, as those within the limit do: no
    distance back in them is longer. The header's first four bits are a 1 and, for 18 to 24, the window's bits - 17.
    """
    if content and content[0] & 0b0001 and content[0] & 0b1110:
        return bytes([content[0] & 0b1111_0000 | 0b0011]) + content[1:]
    return content


CODINGS: Final[dict[str, Callable[[bytes, int], bytes | None]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
}
"""Content-Encoding -> its function: (body, most) -> the first ``most`` bytes of what it unpacks to, and perhaps more.

The function returns None, or raises zlib.error or brotli.error, for a body that is not in the coding."""
