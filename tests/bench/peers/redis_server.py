"""A Redis for the engine that counts in it: Debian's redis-server, with nothing of it on disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from ecounters.errors import Stop
from streams.local.children import Child, Guard
from streams.local.ports import LOCAL, free_ports

LIMIT_S: Final = 20.0


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Start a server; yields its URL, or "" if there is no redis-server on this machine."""
    program = shutil.which("redis-server")
    if program is None:
        yield ""
        return
    port = free_ports(1)[0]
    command = [program, "--bind", LOCAL, "--port", str(port), "--save", "", "--dir", str(folder)]
    with Guard() as guard:
        child = Child("redis", command, folder / "redis.log")
        guard.watch(child)
        url = f"redis://{LOCAL}:{port}/0"
        deadline = time.monotonic() + LIMIT_S
        while not _answers(url):
            if time.monotonic() > deadline:
                raise Stop(f"redis-server does not answer: {child.last_lines()}")
            time.sleep(0.05)
        yield url


def _answers(url: str) -> bool:
    with Redis.from_url(url) as redis:
        try:
            return bool(redis.ping())
        except RedisError:
            return False
