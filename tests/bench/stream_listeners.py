"""A process of listeners: ``python -m tests.bench.stream_listeners PORT COUNT``, with ssids as JSON on stdin.

It prints a line when all streams are open, reads them until stdin is closed, and prints the counts as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from functools import partial
from typing import Final

from tests.support.stream_listener import STREAM

AGAIN_S: Final = 1.0
"""The Retry-After of a 503."""
CONNECTING: Final = 8
"""Connections that may wait for their first event at a time: a request to Redis has one second."""


class Count(asyncio.Protocol):
    """One stream. Payloads are counted by their ids; the counts are of all streams together."""

    opened = payloads = bytes_read = lost = 0

    def __init__(self, ssid: str, limit: asyncio.Semaphore) -> None:
        self._ssid = ssid
        self._limit = limit
        self._first = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._transport.write(f"GET {STREAM}?ssid={self._ssid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Count payloads; a 503 before the stream is repeated, any other error ends the process."""
        if self._first and data.startswith(b"HTTP/1.1 503"):
            asyncio.get_running_loop().call_later(AGAIN_S, self._ask)
            return
        if self._first:
            self._first = False
            self._limit.release()
            if not data.startswith(b"HTTP/1.1 200"):
                print(data.decode(), file=sys.stderr, flush=True)
                os._exit(1)
            Count.opened += 1
        Count.payloads += data.count(b"\nid: ")
        Count.bytes_read += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a lost stream, which must not happen."""
        Count.lost += 1


async def _main(port: int, ssids: list[str]) -> None:
    loop = asyncio.get_running_loop()
    limit, closed = asyncio.Semaphore(CONNECTING), asyncio.Event()
    for ssid in ssids:
        await limit.acquire()
        await loop.create_connection(partial(Count, ssid, limit), "127.0.0.1", port)
    for _ in range(CONNECTING):
        await limit.acquire()
    print(json.dumps({"opened": Count.opened, "payloads": Count.payloads}), flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(closed.set)), daemon=True).start()
    await closed.wait()
    print(json.dumps({"payloads": Count.payloads, "bytes": Count.bytes_read, "lost": Count.lost}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), json.loads(sys.stdin.readline())))
