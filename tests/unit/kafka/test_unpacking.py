"""Bodies of record batches are unpacked, whichever codec and however hostile, within a bound."""

from __future__ import annotations

import gzip
import random
import resource
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from streams.kafka.unpacking import GZIP, LZ4, SNAPPY, UNPACKED_BYTES_MAX, ZSTD, NotUnpacked, unpack_behind

HEAD = b"head" * 15
PACK: dict[int, Callable[[bytes], bytes]] = {
    GZIP: gzip_encode,
    SNAPPY: snappy_encode,
    LZ4: lz4_encode,
    ZSTD: zstd_encode,
}
PAUSE_S_MAX = 0.02


def unpacked(codec: int, body: bytes) -> bytes:
    """The unpacked body."""
    content = bytes(unpack_behind(HEAD, codec, memoryview(body)))
    assert content[: len(HEAD)] == HEAD
    return content[len(HEAD) :]


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("size", [0, 1, 100, 70_000, 3_000_000])
@pytest.mark.parametrize("kind", ["random", "equal"])
def test_what_was_packed_is_unpacked(codec: int, size: int, kind: str) -> None:
    """Small and large, with a ratio below 1 and with one of thousands."""
    content = random.Random(1).randbytes(size) if kind == "random" else bytes(size)
    assert unpacked(codec, PACK[codec](content)) == content


def test_other_forms_of_the_same_codecs_are_unpacked() -> None:
    """gzip of several members; snappy without Java's blocks, as librdkafka packs it."""
    assert unpacked(GZIP, gzip.compress(b"a" * 50) + gzip.compress(b"b")) == b"a" * 50 + b"b"
    assert unpacked(SNAPPY, bytes(cramjam.snappy.compress_raw(b"a" * 50))) == b"a" * 50


@pytest.mark.parametrize("codec", PACK)
def test_the_bound_is_exact(codec: int) -> None:
    """A body of the largest size is unpacked, one more byte is refused."""
    most = bytes(UNPACKED_BYTES_MAX)
    assert unpacked(codec, PACK[codec](most)) == most
    with pytest.raises(NotUnpacked, match=f"more than {UNPACKED_BYTES_MAX} bytes"):
        unpacked(codec, PACK[codec](most + b"\0"))


def snappy_that_says(size: int) -> bytes:
    """A snappy block that begins with a size of its choice."""
    head = bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([*head, size]) + b"\0a"


def bomb(codec: int) -> bytes:
    """A body that unpacks to 1 GiB, or says so."""
    if codec == SNAPPY:
        return snappy_that_says(2**30)
    packed, piece = bytearray(), bytes(2**26)
    if codec == GZIP:
        return gzip.compress(piece, 1) * 16
    if codec == LZ4:
        compressor = cramjam.lz4.Compressor()
        for _ in range(16):
            compressor.compress(piece)
        return bytes(compressor.finish())
    for _ in range(16):
        packed += cramjam.zstd.compress(piece)
    return bytes(packed)


@pytest.mark.parametrize("codec", PACK)
def test_a_bomb_takes_neither_the_memory_nor_the_event_loop(codec: int) -> None:
    """It is refused within the bound; another thread, as the event loop is one, goes on meanwhile."""
    body = bomb(codec)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused: list[str] = []

    def unpack() -> None:
        try:
            unpacked(codec, body)
        except NotUnpacked as error:
            refused.append(str(error))

    pauses = []
    for _ in range(5):  # the least of five: other processes of the machine make pauses too
        thread, longest, last = threading.Thread(target=unpack), 0.0, time.perf_counter()
        thread.start()
        while thread.is_alive():
            time.sleep(0.0005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        pauses.append(longest)
    assert refused == [f"it unpacks to more than {UNPACKED_BYTES_MAX} bytes"] * 5
    assert min(pauses) < PAUSE_S_MAX
    used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert used_kib < 2 * UNPACKED_BYTES_MAX / 1024


@pytest.mark.parametrize("codec", PACK)
def test_a_damaged_body_is_refused_whatever_is_wrong_with_it(codec: int) -> None:
    """Cut off at any byte, with wrong bytes, or nothing but these: it is unpacked to something or refused."""
    whole = PACK[codec](random.Random(3).randbytes(300) + bytes(300))
    chance = random.Random(4)
    for end in range(len(whole)):
        with suppress(NotUnpacked):
            unpacked(codec, whole[:end])
    for size in range(500):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        for body in (bytes(damaged), chance.randbytes(size), whole[:20] + chance.randbytes(size)):
            with suppress(NotUnpacked):
                unpacked(codec, body)


@pytest.mark.parametrize("codec", PACK)
def test_garbage_is_refused_with_a_reason(codec: int) -> None:
    """The reason says that it cannot be unpacked."""
    with pytest.raises(NotUnpacked, match="it cannot be unpacked: "):
        unpacked(codec, b"\xff" * 100)


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_a_codec_that_kafka_does_not_have_is_refused(codec: int) -> None:
    """Three bits say which codec, and only five of their values mean one."""
    with pytest.raises(NotUnpacked, match=f"codec {codec}"):
        unpacked(codec, b"")


def test_a_snappy_block_is_not_longer_than_its_body() -> None:
    """Nor shorter than nothing."""
    head = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    for size in (-1, 1, 2**31 - 1):
        with pytest.raises(NotUnpacked, match="longer than the body"):
            unpacked(SNAPPY, head + struct.pack(">i", size))
    with pytest.raises(NotUnpacked, match="cut off"):
        unpacked(SNAPPY, head + b"\0")
