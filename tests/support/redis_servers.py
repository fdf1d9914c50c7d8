"""Redis servers and sentinels of their own for tests: processes of Debian's redis-server."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from redis import Redis
from redis.exceptions import RedisError

from streams.local.children import Child, Guard
from streams.local.ports import LOCAL

NEEDED: Final = "ECOUNTERS_TEST_REDIS_SERVER"
LIMIT_S: Final = 20.0


def program() -> str:
    """The path of redis-server. Without one the test is skipped, or fails if NEEDED is set."""
    found = shutil.which("redis-server")
    if found is None and os.environ.get(NEEDED):
        pytest.fail("redis-server is missing")
    if found is None:
        pytest.skip("there is no redis-server: apt-get install redis-server")
    return found


class RedisServer:
    """A process: a server, or with ``sentinel`` a sentinel. ``config``: lines of its configuration.

    ``client``: options of a client that tests may use.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        guard: Guard,
        config: Sequence[str] = (),
        *,
        sentinel: bool = False,
        client: Mapping[str, object] | None = None,
    ) -> None:
        self.port = port
        self._guard = guard
        folder.mkdir()
        file = folder / "redis.conf"
        lines = [f"bind {LOCAL}", f"dir {folder}", *config]
        file.write_text("\n".join(lines if "port 0" in config else [f"port {port}", *lines]) + "\n")
        command = [program(), str(file), *(["--sentinel"] if sentinel else [])]
        self._child = Child(f"redis-{port}", command, folder / "log")
        guard.watch(self._child)
        self.client = Redis(host=LOCAL, port=port, **{"socket_timeout": 5, **(client or {})})  # type: ignore[arg-type]
        deadline = time.monotonic() + LIMIT_S
        while not self._answers():
            assert time.monotonic() < deadline, self._child.last_lines()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.client.close()
        self._child.kill()
        self._guard.release(self._child)
