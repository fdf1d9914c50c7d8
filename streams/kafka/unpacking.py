"""Unpacks the body of a compressed record batch, within a bound.

aiokafka unpacks without a bound: 2 KB of zstd can become 64 MiB, and 2 MiB of it more memory than there is. cramjam and
zlib let go of Python's global lock while they unpack, so a thread can do it beside the event loop.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam

UNPACKED_BYTES_MAX: Final = 32 * 1_048_576
"""The largest unpacked size of one record batch: 16 times the largest batch that the topic of events takes (2 MiB).
Simulated events compress to an eighth of their size, and at most to a thirteenth."""
_GUESS_RATIO: Final = 16
_GUESS_BYTES_MAX: Final = 1_048_576
"""The first buffer has _GUESS_RATIO times the packed size, if that is at most _GUESS_BYTES_MAX. A buffer for the
largest size takes longer to make than most batches take to unpack."""
_INPUT_BYTES: Final = 16_384
_STEP_BYTES: Final = 262_144
"""zlib gets so much of a gzip body at a time, as it copies what it has not unpacked yet; and unpacks so much of it
before the bytes are moved into the buffer."""
_XERIAL_MAGIC: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES: Final = 16
"""Java's producers divide a snappy body into blocks: this magic, two versions, and each block behind its length."""
_GZIP: Final = 31
"""zlib's number for a gzip header and checksum with the largest window."""

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Kafka's numbers of its codecs."""


class NotUnpacked(ValueError):
    """A body that is damaged, of an unknown codec, or too large when unpacked. The text says which."""


def unpack_behind(head: bytes, codec: int, body: memoryview) -> memoryview:
    """The bytes ``head``, and behind them the unpacked ``body``.

    Raises NotUnpacked, at the latest after UNPACKED_BYTES_MAX bytes. So much memory is only reserved, and used as far
    as it is written.
    """
    unpack = _CODECS.get(codec)
    if unpack is None:
        raise NotUnpacked(f"it is packed with codec {codec}, which Kafka does not have")
    begin, guess = len(head), len(body) * _GUESS_RATIO
    if guess <= _GUESS_BYTES_MAX:
        buffer = memoryview(bytearray(begin + guess))
        try:
            return _filled(buffer, head, unpack(body, buffer[begin:]))
        except (cramjam.DecompressionError, _Full):
            pass  # damaged, or larger than the guess: the second attempt tells
    buffer = memoryview(mmap.mmap(-1, begin + UNPACKED_BYTES_MAX))
    try:
        return _filled(buffer, head, unpack(body, buffer[begin:]))
    except _Full:
        raise NotUnpacked(f"it unpacks to more than {UNPACKED_BYTES_MAX} bytes") from None
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise NotUnpacked(f"it unpacks to more than {UNPACKED_BYTES_MAX} bytes") from error
        raise NotUnpacked(f"it cannot be unpacked: {error}") from error


class _Full(Exception):
    """The unpacked bytes do not fit into the buffer."""


def _filled(buffer: memoryview, head: bytes, size: int) -> memoryview:
    buffer[: len(head)] = head
    return buffer[: len(head) + size]


def _gunzip(body: memoryview, out: memoryview) -> int:
    """Unpack gzip, of one member or of several, into ``out``. Returns how many bytes were written."""
    unpacker, at, begin = zlib.decompressobj(_GZIP), 0, 0
    left: bytes | memoryview = b""  # taken out of the body and not unpacked yet
    while left or begin < len(body):
        if unpacker.eof:
            unpacker = zlib.decompressobj(_GZIP)
        if not left:
            left = body[begin : begin + _INPUT_BYTES]
            begin += len(left)
        try:
            piece = unpacker.decompress(left, _STEP_BYTES)
        except zlib.error as error:
            raise NotUnpacked(f"it cannot be unpacked: {error}") from error
        if at + len(piece) > len(out):
            raise _Full
        out[at : at + len(piece)] = piece
        at += len(piece)
        left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    while not unpacker.eof and (piece := unpacker.decompress(b"", _STEP_BYTES)):
        if at + len(piece) > len(out):
            raise _Full
        out[at : at + len(piece)] = piece
        at += len(piece)
    if not unpacker.eof:
        raise NotUnpacked("it cannot be unpacked: the gzip body is cut off")
    return at


def _unsnap(body: memoryview, out: memoryview) -> int:
    """Unpack snappy, as one block or in Java's blocks, into ``out``. Returns how many bytes were written."""
    if bytes(body[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return _unsnap_block(body, out)
    at, begin = 0, _XERIAL_HEADER_BYTES
    while begin < len(body):
        try:
            (size,) = struct.unpack_from(">i", body, begin)
        except struct.error:
            raise NotUnpacked("it cannot be unpacked: the snappy body is cut off") from None
        begin += 4
        if size < 0 or begin + size > len(body):
            raise NotUnpacked("it cannot be unpacked: a snappy block is longer than the body")
        at += _unsnap_block(body[begin : begin + size], out[at:])
        begin += size
    return at


def _unsnap_block(block: memoryview, out: memoryview) -> int:
    if cramjam.snappy.decompress_raw_len(block) > len(out):
        raise _Full
    return int(cramjam.snappy.decompress_raw_into(block, out))


def _unpack_lz4(body: memoryview, out: memoryview) -> int:
    return int(cramjam.lz4.decompress_into(body, out))


def _unpack_zstd(body: memoryview, out: memoryview) -> int:
    return int(cramjam.zstd.decompress_into(body, out))


_CODECS: Final[dict[int, Callable[[Any, memoryview], int]]] = {
    GZIP: _gunzip,
    SNAPPY: _unsnap,
    LZ4: _unpack_lz4,
    ZSTD: _unpack_zstd,
}
