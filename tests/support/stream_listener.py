"""A listener of the push: one connection, read event by event."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode

from streams.web.paths import STREAM_PATHS
from tests.support.workers import Reply, Worker

STREAM: Final = STREAM_PATHS[0]
LIMIT_S: Final = 20.0


class SseEvent(NamedTuple):
    """One event of a stream, or a comment, whose name is ":". ``at``: when it arrived, in monotonic seconds."""

    name: str
    version: str
    data: str
    at: float

    @property
    def json(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


class StreamListener:
    """An open stream. ``seen`` collects every event that was read."""

    def __init__(
        self, worker: Worker, query: Mapping[str, object], headers: Mapping[str, str] | None = None, path: str = STREAM
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=LIMIT_S)
        self._connection.request("GET", f"{path}?{urlencode(query, doseq=True)}", headers=dict(headers or {}))
        self.response = self._connection.getresponse()
        self.seen: list[SseEvent] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.response.close()
        self._connection.close()

    @property
    def reply(self) -> Reply:
        """The whole reply, if it is an error and no stream."""
        return Reply(self.response.status, dict(self.response.getheaders()), self.response.read())

    def next(self) -> SseEvent | None:
        """Read the next event or comment; None at the end of the stream."""
        lines: list[str] = []
        while line := self.response.readline().decode():
            if line == "\n":
                event = _parse_event(lines)
                if event is None:
                    lines = []
                    continue
                self.seen.append(event)
                return event
            lines.append(line.rstrip("\n"))
        return None

    def until(self, name: str = "", *, complete: bool | None = None) -> SseEvent:
        """Read until an event of that name: "" is a payload. ``complete``: only a status that says so."""
        deadline = time.monotonic() + LIMIT_S
        while event := self.next():
            if event.name == name and (complete is None or event.json["complete"] is complete):
                return event
            assert time.monotonic() < deadline, self.seen
        raise AssertionError(f"the stream has ended: {self.seen}")

    def rest(self) -> list[SseEvent]:
        """All events until the end of the stream."""
        return list(iter(self.next, None))


def _parse_event(lines: list[str]) -> SseEvent | None:
    """The event that these lines make; None for a block that only sets the time to reconnect."""
    parts = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
    if not parts:
        return SseEvent(":", "", "", time.monotonic())
    if "data" not in parts:
        return None
    return SseEvent(parts.get("event", ""), parts.get("id", ""), parts["data"], time.monotonic())
