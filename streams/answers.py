"""From an account and its request to the bytes of the answer, kept until something changes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from ecounters.errors import Refused
from ecounters.payload import Totals, body, etag, message
from ecounters.query import Request, time_range
from ecounters.state import PartitionState
from ecounters.user import User
from streams.sessions import Account

KEPT_ANSWERS_MAX: Final = 4_096
"""Different (user, range, fields) whose bytes are kept; some 1 KB each."""


class Place(NamedTuple):
    """A user's partition as this worker has it. ``lag_ms``: how far behind its end; ``fresh``: the feed goes on."""

    state: PartitionState
    lag_ms: int
    fresh: bool


class Places(Protocol):
    """Where states are found."""

    def place_of(self, user_id: str) -> Place | None:
        """The user's partition, or None while this worker has not got it (restored)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and what goes with it."""

    body: bytes
    etag: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    token: object  # of the user that it was made of; the user itself would be kept too, with all its calls
    version: int
    body: bytes
    etag: str
    begin: int
    end: int


class Answers:
    """Answers from the states of this worker. ``keep_ms``: how far back counts are kept."""

    def __init__(self, places: Places, keep_ms: int) -> None:
        self._places = places
        self._keep_ms = keep_ms
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()

    def answer(self, account: Account, request: Request, now_ms: int) -> Answer:
        """The answer to one request, or Refused: 1000 for its dates, 503 while the partition is elsewhere."""
        begin, end = time_range(request, account.zone, now_ms, self._keep_ms)
        place = self._places.place_of(account.user_id)
        if place is None:
            raise Refused(1032, "these counters are being moved or restored; try again shortly", http_status=503)
        user = place.state.users.get(account.user_id)
        kept = self._bytes(user, account.user_id, begin, end, request.fields)
        return Answer(kept.body, kept.etag, self._headers(place, kept, user))

    def _bytes(self, user: User | None, user_id: str, begin: int, end: int, fields: tuple[str, ...]) -> _Kept:
        if user is not None:
            user.settle()
        token, version = (user.token, user.version) if user is not None else (None, 0)
        key = (user_id, begin, end, fields)
        kept = self._kept.get(key)
        if kept is not None and kept.token is token and kept.version == version:
            self._kept.move_to_end(key)
            return kept
        totals = Totals(user, begin, end)
        content = body(message(user, totals, fields))
        kept = self._kept[key] = _Kept(token, version, content, etag(content), totals.begin, totals.end)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_ANSWERS_MAX:
            self._kept.popitem(last=False)
        return kept

    def _headers(self, place: Place, kept: _Kept, user: User | None) -> dict[str, str]:
        headers = {
            "ETag": kept.etag,
            "X-Ecounters-Lag-Ms": str(place.lag_ms),
            "X-Ecounters-Complete": "true" if place.fresh else "false",
            "X-Ecounters-Suspected": str(user.suspected if user is not None else 0),
            "X-Ecounters-Range": f"{rfc3339(kept.begin)}/{rfc3339(kept.end)}",
            "X-Ecounters-Position": f"{place.state.partition}:{place.state.position}",
        }
        if place.state.watermark:
            headers["X-Ecounters-As-Of"] = rfc3339(place.state.watermark)
        return headers


def rfc3339(ms: int) -> str:
    """A time as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
