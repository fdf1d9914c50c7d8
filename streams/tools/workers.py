"""A client of the workers' counters API, for ``ecounters audit``.

A worker's reply names the log position that its counters hold for, in the header ``X-Ecounters-Position``. An audit
compares at one position, so ``Workers.query`` repeats a query until a worker has read the log far enough.
"""

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
from streams.basics.text import why_failed
from streams.basics.times import moment_ms, now_ms
from streams.basics.tls import client_context
from streams.settings.table import Settings
from streams.web.paths import COUNTERS_PATHS

REPLY_LIMIT_S: Final = 10.0
"""Timeout of one HTTP request to a worker."""
NO_PROGRESS_LIMIT_S: Final = 60.0
"""``Workers.query`` gives up when no reply has had a higher position than the replies before for this time."""
RETRY_PAUSE_S: Final = 0.2
"""Pause after all workers have been tried without success."""
NOTICE_AFTER_S: Final = 5.0
"""A query that has waited for so long prints on stderr what it waits for."""


@dataclass(frozen=True, slots=True)
class CountersReply:
    """A worker's reply with the counters of one account.

    ``message``: counter -> value. ``begin``, ``end``: the range [begin, end) in ms that the counters cover.
    ``position``: the worker has applied every offset of the account's partition below it. ``at_end``: the position was
    the end of the partition, so that the worker's clock ran on with the wall clock. ``sent_ms``, ``received_ms``: this
    machine's wall clock when the request was sent and when the reply was there.
    """

    message: dict[str, Any]
    begin: int
    end: int
    position: int
    at_end: bool
    sent_ms: int
    received_ms: int


def http_client(settings: Settings) -> aiohttp.ClientSession:
    """The HTTP client for ``Workers``. It checks certificates as workers do. Must be closed."""
    connector = aiohttp.TCPConnector(ssl=client_context(settings.tls_ca))
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REPLY_LIMIT_S), connector=connector)


class Workers:
    """Queries the workers at ``urls``. Each worker can serve every account: it forwards a query to the owner."""

    def __init__(self, client: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._client = client
        self._urls = [url.rstrip("/") + COUNTERS_PATHS[0] for url in urls]

    async def query(self, partition: int, min_position: int, body: dict[str, Any]) -> CountersReply:
        """Query an account of ``partition`` until a reply holds for ``min_position`` or a later position.

        Tries the workers one after the other, beginning with the last one that had such a reply. Prints a notice on
        stderr if this takes long. Raises Stop after NO_PROGRESS_LIMIT_S without progress, and at once for a reply that
        repeating cannot change, such as 403.
        """
        content = orjson.dumps(body)
        deadline, furthest, why = time.monotonic() + NO_PROGRESS_LIMIT_S, -1, ""
        notice_at = time.monotonic() + NOTICE_AFTER_S
        while time.monotonic() < deadline:
            for url in list(self._urls):
                reply = await self._try(url, content, partition)
                if isinstance(reply, str):
                    why = reply
                    continue
                if reply.position >= min_position:
                    self._prefer(url)
                    return reply
                why = f"{url} has read partition {partition} up to offset {reply.position}, not {min_position}"
                if reply.position > furthest:
                    furthest, deadline = reply.position, time.monotonic() + NO_PROGRESS_LIMIT_S
            if time.monotonic() > notice_at:
                notice_at = deadline + NO_PROGRESS_LIMIT_S  # not again, unless progress moves the deadline
                sys.stderr.write(f"waiting up to {NO_PROGRESS_LIMIT_S:g} s for an answer: {why}\n")
            await asyncio.sleep(RETRY_PAUSE_S)
        raise Stop(f"no answer that can be compared in {NO_PROGRESS_LIMIT_S:.0f} s: {why}")

    def _prefer(self, url: str) -> None:
        """Try the worker at ``url`` first from now on.

        An audit goes partition by partition, so this worker probably owns the next user's partition too.
        """
        if self._urls[0] != url:
            self._urls.remove(url)
            self._urls.insert(0, url)

    async def _try(self, url: str, content: bytes, partition: int) -> CountersReply | str:
        """Query one worker. Returns its reply, or why there was none if another try may succeed.

        Raises Stop if another try cannot succeed: the worker refused the request, it has the account on another
        partition than ``partition``, or no worker of this release is at ``url``.
        """
        sent_ms = now_ms()
        try:
            async with self._client.post(url, data=content) as response:
                raw = await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            return f"{url}: {why_failed(error)}"
        try:
            message = orjson.loads(raw)["message"]
        except (ValueError, TypeError, KeyError):
            if response.status == 503:
                return f"{url}: {response.reason}"
            raise Stop(f"{url} is no worker: it answers {response.status} with {raw[:80]!r}") from None
        if response.status == 503:
            return f"{url}: {message}"
        if response.status != 200:
            raise Stop(f"{url} answers {response.status}: {message}")
        headers = response.headers
        try:
            served, _, position = headers["X-Ecounters-Position"].partition(":")
            first, _, after = headers["X-Ecounters-Range"].partition("/")
            at_end = headers["X-Ecounters-Lag-Ms"] == "0"
        except KeyError as name:
            raise Stop(f"{url} is of another version: its answer has no header {name}") from None
        if int(served) != partition:
            raise Stop(f"{url} has this user on partition {served}, not {partition}: is it of another topic?")
        begin, end = moment_ms(first), moment_ms(after)
        if begin is None or end is None:
            raise Stop(f"{url} is of another version: its X-Ecounters-Range is {first}/{after}")
        return CountersReply(message, begin, end, int(position), at_end, sent_ms, now_ms())
