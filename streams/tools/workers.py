"""Asking the workers for counters, and for which position of the log they hold."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from ecounters.errors import Stop
from streams.basics.text import one_line
from streams.basics.times import moment_ms, now_ms
from streams.web.paths import COUNTERS_PATHS

ANSWER_LIMIT_S: Final = 10.0
WAIT_LIMIT_S: Final = 60.0
"""For a worker that has the user, and has read as far as is asked for, with no progress meanwhile."""
PAUSE_S: Final = 0.2
QUIET_S: Final = 5.0
"""After so long it is said what is waited for."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: the counters, the range [begin, end) in ms that they are of, and how far its worker had read."""

    message: dict[str, Any]
    begin: int
    end: int
    position: int
    at_end: bool
    """Whether that was the end of the log, so that the wall clock counts."""
    asked_ms: int
    told_ms: int
    """The wall clock before and after."""


class Workers:
    """All workers by their addresses. Any user may be asked for; whoever has the user answers."""

    def __init__(self, client: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._client = client
        self._urls = [url.rstrip("/") + COUNTERS_PATHS[0] for url in urls]

    async def ask(self, partition: int, least: int, body: dict[str, Any]) -> Told:
        """The answer of a worker that has read its partition up to ``least`` or further; Stop if there is none."""
        content = orjson.dumps(body)
        deadline, furthest, why = time.monotonic() + WAIT_LIMIT_S, -1, ""
        quiet_until = time.monotonic() + QUIET_S
        while time.monotonic() < deadline:
            for url in list(self._urls):
                found = await self._try(url, content, partition)
                if isinstance(found, str):
                    why = found
                    continue
                if found.position >= least:
                    self._prefer(url)
                    return found
                why = f"{url} has read partition {partition} up to offset {found.position}, not {least}"
                if found.position > furthest:
                    furthest, deadline = found.position, time.monotonic() + WAIT_LIMIT_S
            if time.monotonic() > quiet_until:
                quiet_until = deadline + WAIT_LIMIT_S
                sys.stderr.write(f"waiting for an answer: {why}\n")
            await asyncio.sleep(PAUSE_S)
        raise Stop(f"no answer that can be compared in {WAIT_LIMIT_S:.0f} s: {why}")

    def _prefer(self, url: str) -> None:
        """Users are asked for by partition: who had the last one is likely to have the next."""
        if self._urls[0] != url:
            self._urls.remove(url)
            self._urls.insert(0, url)

    async def _try(self, url: str, content: bytes, partition: int) -> Told | str:
        """One worker's answer, or why it has none. Stop if asking again would not help."""
        asked_ms = now_ms()
        try:
            async with self._client.post(url, data=content) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            return f"{url}: {one_line(error)}"
        try:
            text = orjson.loads(answer)["message"]
        except (ValueError, TypeError, KeyError):
            if response.status == 503:
                return f"{url}: {response.reason}"
            raise Stop(f"{url} is no worker: it answers {response.status} with {answer[:80]!r}") from None
        if response.status == 503:
            return f"{url}: {text}"
        if response.status != 200:
            raise Stop(f"{url} answers {response.status}: {text}")
        headers = response.headers
        try:
            where, _, position = headers["X-Ecounters-Position"].partition(":")
            first, _, after = headers["X-Ecounters-Range"].partition("/")
            at_end = headers["X-Ecounters-Lag-Ms"] == "0"
        except KeyError as name:
            raise Stop(f"{url} is of another version: its answer has no header {name}") from None
        if int(where) != partition:
            raise Stop(f"{url} has this user on partition {where}, not {partition}: is it of another topic?")
        begin, end = moment_ms(first), moment_ms(after)
        if begin is None or end is None:
            raise Stop(f"{url} is of another version: its X-Ecounters-Range is {first}/{after}")
        return Told(text, begin, end, int(position), at_end, asked_ms, now_ms())
