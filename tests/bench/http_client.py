"""A process that asks a worker for counters on kept connections, flat out or at a given rate.

The job is JSON on stdin. The output is one JSON object: seconds, its own CPU seconds, the number of different replies,
and the time of each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final, NamedTuple

from tests.support.workers import PATH

LENGTH: Final = b"\r\nContent-Length: "
ETAG: Final = b"\r\nETag: "
CONNECTIONS: Final = 16


class HttpLoad(NamedTuple):
    """The job. ``rate``: requests a second of all connections together; 0: each as soon as the last has its reply."""

    port: int
    body: str
    seconds: float
    rate: float


class Connection(asyncio.Protocol):
    """One connection: a request, its reply, the next request."""

    def __init__(self, load: HttpLoad, times: list[float], seen: set[bytes], first_at: float) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(load.body)}\r\n\r\n"
        self._question = (head + load.body).encode()
        self._times = times
        self._seen = seen
        self._every = CONNECTIONS / load.rate if load.rate else 0.0
        self._due = first_at
        self._until = first_at + load.seconds
        self._got = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request at this connection's time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        asyncio.get_running_loop().call_at(self._due, self._ask)

    def _ask(self) -> None:
        # At a given rate a request counts from when it was due: a slow reply must not hide the delay of later ones.
        self._begun = self._due if self._every else time.monotonic()
        self._transport.write(self._question)

    def data_received(self, data: bytes) -> None:
        """Take a part of the reply; at its end, send or schedule the next request."""
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._got.index(LENGTH) + len(LENGTH)
        if len(self._got) < end + 4 + int(self._got[at : self._got.index(b"\r\n", at)]):
            return
        if not self._got.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(self._got[:300].decode(errors="replace")))
            return
        at = self._got.index(ETAG)
        self._seen.add(self._got[at : self._got.index(b"\r\n", at + 2)])
        self._got = b""
        now = time.monotonic()
        self._times.append(now - self._begun)
        if now >= self._until:
            self._transport.close()
            self.done.set_result(None)
        elif self._every:
            self._due += self._every
            asyncio.get_running_loop().call_at(self._due, self._ask)
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, unless the connection is done."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the worker has closed a connection"))


async def ask(load: HttpLoad) -> dict[str, object]:
    """Run all connections until the time is over."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    seen: set[bytes] = set()
    begun, cpu = time.monotonic() + 0.2, time.process_time()
    made = []
    for n in range(CONNECTIONS):
        first = begun + (n / load.rate if load.rate else 0.0)
        _, one = await loop.create_connection(
            lambda first=first: Connection(load, times, seen, first), "127.0.0.1", load.port  # type: ignore[misc]
        )  # fmt: skip
        made.append(one.done)
    await asyncio.gather(*made)
    return {
        "seconds": time.monotonic() - begun,
        "cpu_s": time.process_time() - cpu,
        "different": len(seen),
        "times": times,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(HttpLoad(**json.load(sys.stdin))))))
