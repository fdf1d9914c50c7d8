"""Bodies in the codings that are taken, and bodies made to do harm."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
import time
import zlib
from collections.abc import Callable
from typing import Final

import brotli
import pytest

from ecounters.errors import RequestRefused
from streams.web import decompression
from streams.web.decompression import decoder_of
from streams.web.responses import error_response
from tests.support.request_attacks import slow_br

LIMIT = 65_536
BLANKS = b" " * 3_000_000


def raw_deflated(content: bytes) -> bytes:
    """Deflated content without zlib's header and checksum."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def decoded(body: bytes, *codings: str) -> bytes:
    """The decoded body of a request with these Content-Encoding headers."""

    async def decode() -> bytes:
        return await decoder_of(codings)(body, LIMIT)

    return asyncio.run(decode())


def refusal(body: bytes, *codings: str) -> tuple[int, str]:
    """HTTP status and detail of the refusal of a body."""
    with pytest.raises(RequestRefused) as caught:
        decoded(body, *codings)
    assert caught.value.code == 1000
    return caught.value.http_status, caught.value.detail


Pack = Callable[[bytes], bytes]

PACKED: Final[list[tuple[str, Pack]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZip", lambda content: gzip.compress(content[:7]) + gzip.compress(b"") + gzip.compress(content[7:])),
    ("deflate", zlib.compress),
    ("deflate", raw_deflated),
    ("br", brotli.compress),
    (" identity, br", lambda content: bytes(brotli.compress(content, quality=1))),
]
"""(Content-Encoding, what packs a body so)."""


@pytest.mark.parametrize(("coding", "pack"), PACKED)
def test_a_body_of_the_limit_is_unpacked_and_one_byte_more_is_not(coding: str, pack: Pack) -> None:
    """By each coding: from no bytes to the limit, and 413 behind it, also far behind."""
    content = random.Random(1).randbytes(LIMIT // 2).hex().encode()
    for length in (0, 1, 1_000, LIMIT):
        assert decoded(pack(content[:length]), coding) == content[:length]
    for large in (content + b"x", BLANKS):
        assert refusal(pack(large), coding) == (413, "the body is larger than 64 KiB when it is unpacked")


@pytest.mark.parametrize(("coding", "pack"), [row for row in PACKED if row[0] != "GZip"])
def test_a_damaged_body_is_refused(coding: str, pack: Pack) -> None:
    """By each coding: nothing, every cut, bytes behind the end, and no such coding at all."""
    packed = pack(b'{"userId":"u1","token":"secret"}')
    broken = [packed[:length] for length in range(len(packed))]
    for body in (*broken, packed + b"{}", b'{"userId":"u1"}', b"\xff" * 100):
        assert refusal(body, coding) == (400, "the body is not coded as its Content-Encoding says"), body


@pytest.mark.parametrize("codings", [(), ("",), ("identity",), ("Identity, ", " ")])
def test_without_a_coding_a_body_stays_as_it_is(codings: tuple[str, ...]) -> None:
    """Whatever its bytes are; ``body_as_sent`` has limited its size."""
    assert decoded(gzip.compress(b"{}"), *codings) == gzip.compress(b"{}")


@pytest.mark.parametrize(
    ("codings", "name"),
    [
        (("zstd",), '"zstd"'),
        (("compress",), '"compress"'),
        (("gzip, br",), '"gzip, br"'),
        (("gzip", "gzip"), '"gzip,gzip"'),
        (("\udcff",), '"?"'),
        (("," * 200,), '"' + "," * 56 + "..."),
        (("x" * 200,), '"' + "x" * 56 + "..."),
    ],
)
def test_other_codings_and_chains_of_them_are_refused(codings: tuple[str, ...], name: str) -> None:
    """415, with the header as it is shown in messages."""
    detail = f"Content-Encoding {name} is not taken: send the body by one of gzip, deflate, br, or as it is"
    assert refusal(b"", *codings) == (415, detail)


@pytest.mark.parametrize("quality", [0, 1, 5, 9, 11])
@pytest.mark.parametrize("window_bits", range(10, 25))
def test_br_of_any_window_is_unpacked_alike(quality: int, window_bits: int) -> None:
    """The decoder's smaller window changes no byte: distances back to the first byte, and words of br's dictionary."""
    chance = random.Random(window_bits)
    words = [chance.randbytes(4).hex() for _ in range(300)] + ["the time of the year", "download", "Internet"]
    text = " ".join(chance.choices(words, k=9_000)).encode()
    content = (text[:200] + text)[: LIMIT - 200] + text[:200]
    assert len(content) == LIMIT
    packer = brotli.Compressor(quality=quality, lgwin=window_bits)
    assert decoded(packer.process(content) + packer.finish(), "br") == content


@pytest.mark.parametrize("command", [0, 8, 128])
def test_29_bytes_of_br_do_not_take_long(command: int) -> None:
    """Refused within 50 ms of this thread's and the decoder's time; by their own window they take 70 to 170 ms."""
    body = slow_br(command)
    assert len(body) == 29
    decoded(gzip.compress(b""), "gzip")  # starts the thread

    def took_s() -> float:
        began = time.process_time()
        assert refusal(body, "br")[0] == 413
        return time.process_time() - began

    assert min(took_s(), took_s()) < 0.05  # a virtual machine counts the time without its processor too


def test_a_body_does_not_wait_for_ever_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with 503 and Retry-After after a time limit, is not decoded any more, and the next one is."""
    busy, unpacked = threading.Event(), list[bytes]()

    def noted(content: bytes, most: int) -> bytes:
        unpacked.append(content)
        busy.wait(10)
        return content

    monkeypatch.setitem(decompression.CODINGS, "gzip", noted)
    monkeypatch.setattr(decompression, "DECODE_LIMIT_S", 0.2)

    async def refused(content: bytes) -> RequestRefused:
        with pytest.raises(RequestRefused) as caught:
            await decoder_of(["gzip"])(content, LIMIT)
        return caught.value

    async def run() -> list[RequestRefused]:
        refusals = await asyncio.gather(*(refused(bytes([number])) for number in range(5)))
        busy.set()
        assert await decoder_of(["gzip"])(b"next", LIMIT) == b"next"
        return refusals

    refusals = asyncio.run(run())
    assert [(one.code, one.http_status) for one in refusals] == [(1032, 503)] * 5
    assert "Retry-After" in error_response(refusals[0]).headers
    assert len(unpacked) == 2
