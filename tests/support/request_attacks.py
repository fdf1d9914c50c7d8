"""Requests that are made to keep a worker's event loop busy. Each is one connection's bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import brotli

from streams.web.paths import DASHBOARD_PATH, HEALTH_PATH, PEER_PATH, SERIES_PATHS, STREAM_PATHS
from tests.support.replies import CREDENTIALS
from tests.support.workers import PATH

MB: Final = 1 << 20
HEAD_MAX: Final = 8_000
"""Just below the longest line that aiohttp takes."""
HEADERS_MAX: Final = 100
"""Just below the most headers that aiohttp takes."""


def bomb() -> bytes:
    """1.6 KB of br that unpack to a gigabyte of blanks."""
    packer, blanks = brotli.Compressor(quality=5), b" " * (16 * MB)
    first, again = (packer.process(blanks) + packer.flush() for _ in range(2))
    return b"".join([first, again * 60, packer.finish()])


class _Bits:
    """Bytes that are written bit by bit, the lowest first, as br's format is."""

    def __init__(self) -> None:
        self._value = self._length = 0

    def add(self, *fields: tuple[int, int]) -> None:
        """Append fields of (value, number of bits)."""
        for value, length in fields:
            self._value |= value << self._length
            self._length += length

    def align(self) -> None:
        """Fill the byte that has begun."""
        self._length += -self._length % 8

    def content(self) -> bytes:
        """All bytes."""
        return self._value.to_bytes((self._length + 7) // 8, "little")


def slow_br(command: int) -> bytes:
    """29 bytes of br: 16 bytes of text, then 16 MB that are made by millions of commands, each of 0 bits.

    The window is 16 MB, so a decoder with that window runs all commands before it gives out a byte.
    """
    bits = _Bits()
    bits.add((0b1111, 4), (0, 1), (0, 2), (15, 16), (1, 1))  # a window of 24 bits; 16 bytes that are not compressed
    bits.align()
    bits.add(*((byte, 8) for byte in b"abcdefghijklmnop"))
    bits.add(
        (0, 1), (2, 2), ((1 << 24) - 1, 24), (0, 1), (0, 3), (0, 6), (0, 2), (0, 2)
    )  # 16 MB, one tree of each kind
    for symbol, length in ((ord("a"), 8), (command, 10), (0, 6)):  # literals, commands, distances: one symbol, no bits
        bits.add((1, 2), (0, 2), (symbol, length))
    bits.add((1, 1), (1, 1))
    return bits.content()


def post(body: bytes, *headers: str, path: str = PATH) -> bytes:
    """A POST, after which the connection is closed."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def get(path: str, *headers: str) -> bytes:
    """A GET, after which the connection is closed."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "\r\n"]).encode()


def asking(name: str, value: str, **more: object) -> bytes:
    """The body of a request with right credentials, and a parameter whose JSON is ``value``."""
    return json.dumps({**CREDENTIALS, **more})[:-1].encode() + f',"{name}":{value}}}'.encode()


def repeated(item: str, separator: str = ",", most: int = 65_000) -> str:
    """An item again and again, to ``most`` characters."""
    return separator.join([item] * (most // (len(item) + len(separator))))


def listed(items: Iterable[object]) -> str:
    """A JSON array of items whose JSON is their text."""
    return f"[{','.join(map(str, items))}]"


def condition(values: str) -> str:
    """A condition on the DID. ``values``: the JSON of an array."""
    return '{"field":"did","op":"in","value":' + values + "}"


def compressed() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of bodies that are small as they are sent."""
    blanks = b" " * 60_000_000
    for path in (PATH, HEALTH_PATH, PEER_PATH, "/nowhere"):
        yield f"1.6 KB of br for 1 GB, to {path}", post(bomb(), "Content-Encoding: br", path=path)
    for command in (0, 8, 128):
        yield f"29 bytes of br, command {command}", post(slow_br(command), "Content-Encoding: br")
    yield "58 KB of gzip for 60 MB", post(gzip.compress(blanks), "Content-Encoding: gzip")
    yield "58 KB of deflate for 60 MB", post(zlib.compress(blanks), "Content-Encoding: deflate")
    yield "3,200 empty members of gzip", post(gzip.compress(b"") * 3_200, "Content-Encoding: gzip")
    yield "160,000 codings", post(b"{}", *["Content-Encoding: " + repeated("gzip", most=HEAD_MAX)] * HEADERS_MAX)


def bodies() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of bodies of nearly 64 KiB."""
    values = listed(f'"{at:060}"' for at in range(1_000))
    deep_array, deep_object = "[" * 900 + "]" * 900, '{"":' * 900 + "1" + "}" * 900
    yield "1,000 values", post(asking("filter", listed([condition(values)])))
    yield "32 conditions", post(asking("filter", listed([condition(listed(range(31)))] * 32)))
    yield "8 conditions deep", post(asking("filter", "[" + '{"not":' * 8 + condition("[1]") + "}" * 8 + "]"))
    yield "a date of 64,000 characters", post(asking("filter", '[{"field":"date","value":"' + "2" * 64_000 + '"}]'))
    yield "1,000 Fields", post(asking("Field", listed(['"UC"'] * 1_000)))
    yield "10,800 escapes", post(asking("Field", '"' + repeated("\\u0041", "", 64_000) + '"'))
    yield "21,000 objects", post(asking("filter", f"[{repeated('{}')}]"))
    login = asking("x", f"[{repeated('{}', most=64_000)}]")
    yield "a log-in", post(login, "Content-Type: application/json", path=f"{DASHBOARD_PATH}/login")
    series = asking("filter", '[{"field":"date","value":"last7days"}]', interval="15m")
    yield "a series of 670 steps", post(series, path=SERIES_PATHS[0])
    for name, text in (
        ("65,000 arrays, open", "[" * 65_000),
        ("36 arrays, 900 deep", listed([deep_array] * 36)),
        ("35 arrays, 900 deep, and an escape", listed([deep_array] * 35 + ['"\\u0000"'])),
        ("12 objects, 900 deep", listed([deep_object] * 12)),
        ("7,000 names", "{" + ",".join(f'"{at:x}":1' for at in range(7_000)) + "}"),
        ("a whole number of 65,000 digits", "9" * 65_000),
        ("numbers of 4,299 digits", f"[{repeated('9' * 4_299)}]"),
        ("floats near the smallest", f"[{repeated('1.2345678901234567e-308')}]"),
        ("floats of 800 digits", f"[{repeated('2.2250738585072011' + '1' * 780 + 'e-308')}]"),
    ):
        yield name, post(text.encode())
    yield "a body between workers", post(b"[" * 130_000, "X-Ecounters-Signature: " + "a" * HEAD_MAX, path=PEER_PATH)


def heads() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of requests with a large head."""
    stream = STREAM_PATHS[0]
    asked = asking("Field", "[]")
    for name, item in (
        ("If-None-Match", '"a"'),
        ("Accept-Encoding", "a;q=0"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("Cookie", "a=b"),
        ("Cookie", "ecounters=b"),
        ("Cookie", 'a="\\'),
        ("Accept", "*/*"),
        ("Origin", "null"),
    ):
        header = f"{name}: " + repeated(item, ";" if name == "Cookie" else ",", HEAD_MAX)
        yield f"100 headers {name} with {item}, of a POST", post(asked, *[header] * HEADERS_MAX)
        yield f"100 headers {name} with {item}, of a stream", get(stream + "?ssid=x", *[header] * HEADERS_MAX)
        yield f"100 headers {name} with {item}, of the page", get(DASHBOARD_PATH, *[header] * HEADERS_MAX)
    for item in ("Field=UC&", "&", "ssid=%41", "a[]=1&", "filter=[{}]&"):
        yield f"a query of {item}", get(f"{stream}?" + repeated(item, "", HEAD_MAX - 50))
    yield "a query with 8,000 arrays", get(f"{stream}?ssid=x&filter=" + "[" * (HEAD_MAX - 60))
    for item in ("/", "/..", "/a", "/%2f", "%C3%A9", "/docs"):
        yield f"a path of {item}", get("/" + repeated(item, "", HEAD_MAX - 20))


def streams() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of bodies in very many chunks, and very many requests in one connection."""
    for path in (PATH, HEALTH_PATH):
        start = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        yield f"200,000 chunks of a byte, to {path}", start + b"1\r\n \r\n" * 200_000 + b"0\r\n\r\n"
        yield f"60,000 trailers, to {path}", start + b"0\r\n" + b"a: b\r\n" * 60_000 + b"\r\n"
    for path in (HEALTH_PATH, "/", PATH):
        once = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        yield f"2,000 requests to {path}", once * 2_000 + get(path)


def attacks() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of all."""
    yield from compressed()
    yield from bodies()
    yield from heads()
    yield from streams()
