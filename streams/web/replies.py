"""Makes the reply to an account's query from the states of this worker. Unchanged bodies come from a cache.

``compression`` makes an HTTP response of a reply, ``subject`` makes an SSE event.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ecounters.partition.user import User
from ecounters.query.dates import time_range
from ecounters.query.request import Query
from ecounters.reports.payload import body, etag, message
from ecounters.reports.series import Series
from ecounters.reports.totals import totals_of
from streams.access.sessions import Account
from streams.basics.times import utc_text
from streams.engine.view import PartitionView

CACHED_REPLIES_MAX: Final = 4_096
"""How many bodies are cached: of different users, ranges, filters, fields and intervals, usually of some 1 KB."""
CACHED_BYTES_MAX: Final = 64_000_000
"""Limit of all cached bodies together, because a long series can have 1 MB."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A body with its ETag and its headers. ``headers``: ``ETag`` and all ``X-Ecounters-...``."""

    body: bytes
    etag: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _CachedReply:
    """A body, and the state of the user from which it was made.

    ``token``: ``User.token``, None for an unknown user. (A reference to the User would keep all its calls in memory.)
    ``version``: ``User.version`` when the body was made. ``begin``, ``end``: the counted range, [begin, end) in ms.
    """

    token: object
    version: int
    body: bytes
    etag: str
    begin: int
    end: int


class ReplyCache:
    """Makes replies from the states of this worker, and caches their bodies until the user changes.

    ``keep_ms``: how far back counts are kept, in ms; a query for an earlier time is refused.
    """

    def __init__(self, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._cache: OrderedDict[tuple[object, ...], _CachedReply] = OrderedDict()  # least recently used first
        self._cached_bytes = 0

    def reply(self, view: PartitionView, account: Account, query: Query, now_ms: int) -> Reply:
        """The reply to a query, which is for a series if it has an interval. ``view``: the account's partition.

        Settles the user's changed calls first. Raises RequestRefused (1000) for a range that cannot be counted, or that
        cannot be divided into steps of the interval.
        """
        span = time_range(query.dates, account.zone, now_ms, self._keep_ms)
        user = view.state.account(account.user_id)
        cached = self._up_to_date(user, account, span, query)
        return Reply(cached.body, cached.etag, self._headers(view, cached, user))

    def _up_to_date(self, user: User | None, account: Account, span: tuple[int, int], query: Query) -> _CachedReply:
        """The body for a range, from the cache if the user has not changed since."""
        if user is not None:
            user.settle()
        token, version = (user.token, user.version) if user is not None else (None, 0)
        zone = account.zone.key if query.interval is not None else None
        key = (account.user_id, span, query.filter, query.fields, query.interval, zone)
        cached = self._cache.get(key)
        if cached is not None and cached.token is token and cached.version == version:
            self._cache.move_to_end(key)
            return cached
        if query.interval is not None:
            series = Series(user, span, query.interval, account.zone, query.where, query.fields)
            content, begin, end = body(series.message), series.begin, series.end
        else:
            totals = totals_of(user, *span, query.where)
            content, begin, end = body(message(totals, query.fields)), totals.begin, totals.end
        return self._add(key, _CachedReply(token, version, content, etag(content), begin, end))

    def _add(self, key: tuple[object, ...], reply: _CachedReply) -> _CachedReply:
        """Cache a reply and return it. Removes the least recently used ones beyond the limits."""
        replaced = self._cache.pop(key, None)
        self._cache[key] = reply
        self._cached_bytes += len(reply.body) - (len(replaced.body) if replaced is not None else 0)
        while len(self._cache) > CACHED_REPLIES_MAX or self._cached_bytes > CACHED_BYTES_MAX:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1].body)
        return reply

    def _headers(self, view: PartitionView, cached: _CachedReply, user: User | None) -> dict[str, str]:
        """The headers of a reply. Range and ETag belong to the body; the others are of now, also for a cached body."""
        headers = {
            "ETag": cached.etag,
            "X-Ecounters-Lag-Ms": str(view.lag_ms),
            "X-Ecounters-Complete": "true" if view.fresh else "false",
            "X-Ecounters-Suspected": str(user.suspected if user is not None else 0),
            "X-Ecounters-Range": f"{_milliseconds(cached.begin)}/{_milliseconds(cached.end)}",
            "X-Ecounters-Position": f"{view.state.partition}:{view.state.position}",
        }
        if view.state.watermark:
            headers["X-Ecounters-As-Of"] = _milliseconds(view.state.watermark)
        return headers


def _milliseconds(at_ms: int) -> str:
    """ms since the Unix epoch -> RFC 3339 in UTC, to the millisecond."""
    return utc_text(at_ms, "milliseconds")
