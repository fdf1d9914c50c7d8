"""From an account and its request to the bytes of the answer, kept until something changes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ecounters.partition.user import User
from ecounters.query.dates import time_range
from ecounters.query.request import Query
from ecounters.reports.payload import body, etag, message
from ecounters.reports.series import Series
from ecounters.reports.totals import totals_of
from streams.access.sessions import Account
from streams.engine.view import PartitionView

KEPT_ANSWERS_MAX: Final = 4_096
"""Different (user, range, what is asked for) whose bytes are kept; some 1 KB each."""
KEPT_BYTES_MAX: Final = 64_000_000
"""Of all of these: a series has up to 1 MB."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A body and what goes with it."""

    body: bytes
    etag: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _CachedReply:
    token: object  # of the user that it was made of; the user itself would be kept too, with all its calls
    version: int
    body: bytes
    etag: str
    begin: int
    end: int


class ReplyCache:
    """Answers from the states of this worker. ``keep_ms``: how far back counts are kept."""

    def __init__(self, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._kept: OrderedDict[tuple[object, ...], _CachedReply] = OrderedDict()
        self._kept_bytes = 0

    def answer(self, place: PartitionView, account: Account, request: Query, now_ms: int) -> Reply:
        """The answer to one request (a series, if it has an interval), or Refused: 1000 for its range.

        ``place``: the account's partition.
        """
        asked = time_range(request.dates, account.zone, now_ms, self._keep_ms)
        user = place.state.users.get(account.user_id)
        kept = self._bytes(user, account, asked, request)
        return Reply(kept.body, kept.etag, self._headers(place, kept, user))

    def _bytes(self, user: User | None, account: Account, asked: tuple[int, int], request: Query) -> _CachedReply:
        if user is not None:
            user.settle()
        token, version = (user.token, user.version) if user is not None else (None, 0)
        zone = account.zone.key if request.interval is not None else None
        key = (account.user_id, asked, request.filter, request.fields, request.interval, zone)
        kept = self._kept.get(key)
        if kept is not None and kept.token is token and kept.version == version:
            self._kept.move_to_end(key)
            return kept
        if request.interval is not None:
            made = Series(user, asked, request.interval, account.zone, request.where, request.fields)
            content, begin, end = body(made.message), made.begin, made.end
        else:
            totals = totals_of(user, *asked, request.where)
            content, begin, end = body(message(totals, request.fields)), totals.begin, totals.end
        return self._keep(key, _CachedReply(token, version, content, etag(content), begin, end))

    def _keep(self, key: tuple[object, ...], kept: _CachedReply) -> _CachedReply:
        was = self._kept.pop(key, None)
        self._kept[key] = kept
        self._kept_bytes += len(kept.body) - (len(was.body) if was is not None else 0)
        while len(self._kept) > KEPT_ANSWERS_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].body)
        return kept

    def _headers(self, place: PartitionView, kept: _CachedReply, user: User | None) -> dict[str, str]:
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
