"""Makes the reply to an account's query from the states of this worker. Unchanged bodies come from a cache.

``compression`` makes an HTTP response of a reply, ``subject`` makes an SSE event.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ecounters.changelog.holes import concern
from ecounters.partition.user import User
from ecounters.query.dates import time_range
from ecounters.query.request import Query
from ecounters.reports.large import LargeReply, is_small_reply
from ecounters.reports.payload import body as body_of_message
from ecounters.reports.payload import etag, message
from ecounters.reports.series import Series
from ecounters.reports.totals import totals_of
from streams.access.sessions import Account
from streams.basics.slices import Slice, TimeSlices
from streams.basics.times import utc_text
from streams.engine.view import PartitionView
from streams.web.large_replies import Body, LargeReplies, Moment, again

CACHED_REPLIES_MAX: Final = 4_096
"""How many bodies are cached: of different users, ranges, filters, fields and intervals, usually of some 1 KB."""
CACHED_BYTES_MAX: Final = 64_000_000
"""Limit of all cached bodies together, because a long series can have 1 MB."""
SLOTS_MAX: Final = 5_000
"""So many slots of an account's changed calls are settled at once, in some 2 ms: those of 500 calls without inputs, or
of one call with 800. More are settled in steps."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A body with its ETag and its headers. ``headers``: ``ETag`` and all ``X-Ecounters-...``."""

    body: bytes
    etag: str
    headers: dict[str, str]


class ReplyCache:
    """Makes replies from the states of this worker, and caches their bodies until the user changes.

    ``keep_ms``: how far back counts are kept, in ms; a query for an earlier time is refused. ``slices``: in which large
    replies are made.
    """

    def __init__(self, keep_ms: int, slices: TimeSlices) -> None:
        self._keep_ms = keep_ms
        self._slices = slices
        self._large = LargeReplies(slices)
        self._cache: OrderedDict[Hashable, Body] = OrderedDict()  # least recently used first
        self._cached_bytes = 0

    async def reply(self, view: PartitionView, account: Account, query: Query, now_ms: int) -> Reply:
        """The reply to a query, which is for a series if it has an interval. ``view``: the account's partition.

        A small reply is made at once, a large one in time slices. Settles the user's changed calls before. Raises
        RequestRefused (1000) for a range that cannot be counted, or that cannot be divided into steps of the interval;
        503 if this worker gives the partition up before a large reply is read, or while many calls are settled.
        """
        span = time_range(query.dates, account.zone, now_ms, self._keep_ms)
        zone = account.zone.key if query.interval is not None else None
        key = (account.user_id, span, query.filter, query.fields, query.interval, zone)
        user = view.state.account(account.user_id)
        at_once = _settles_at_once(user)
        if user is not None and not at_once:
            await self._settle_most(view, user)
            view = again(view)
            user = view.state.account(account.user_id)
            at_once = _settles_at_once(user)
        if at_once:
            if user is not None:
                user.settle()
            body = self._cached(key, user)
            if body is None and is_small_reply(user, span, query.interval):
                body = self._add(key, _body_at_once(user, account, span, query))
            if body is not None:
                return _reply(body, Moment.of(view, user))

        def new() -> LargeReply:
            return LargeReply(span, query.where, query.fields, query.interval, account.zone)

        body, moment = await self._large.make(view, account.user_id, key, new, partial(self._cached, key))
        return _reply(self._add(key, body), moment)

    async def _settle_most(self, view: PartitionView, user: User) -> None:
        """Settle changed calls of the user in time slices, until the rest can be settled at once.

        Before all other work: that is what touches calls, so that this ends. No lock is taken, as for a small reply.
        But the state may be replaced or given up between two steps, and is emptied then, or the user may be erased: no
        step comes after that.
        """
        steps = user.settling()
        async with Slice(self._slices, first=True) as time_slice:
            while not _settles_at_once(user) and not user.erased:
                now = view.again()
                if now is None or now.state is not view.state:
                    return
                next(steps, None)
                await time_slice.yield_if_used_up()

    def _cached(self, key: Hashable, user: User | None) -> Body | None:
        """The cached body of a query, if the user, who is settled, has not changed since it was made."""
        token, version = (user.token, user.version) if user is not None else (None, 0)
        body = self._cache.get(key)
        if body is None or body.token is not token or body.version != version:
            return None
        self._cache.move_to_end(key)
        return body

    def _add(self, key: Hashable, body: Body) -> Body:
        """Cache a body and return it. Removes the least recently used ones beyond the limits."""
        replaced = self._cache.pop(key, None)
        self._cache[key] = body
        self._cached_bytes += len(body.content) - (len(replaced.content) if replaced is not None else 0)
        while len(self._cache) > CACHED_REPLIES_MAX or self._cached_bytes > CACHED_BYTES_MAX:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1].content)
        return body


def _settles_at_once(user: User | None) -> bool:
    return user is None or user.unsettled_slots(SLOTS_MAX) <= SLOTS_MAX


def _body_at_once(user: User | None, account: Account, span: tuple[int, int], query: Query) -> Body:
    """The body for a range, of a user that is settled."""
    if query.interval is not None:
        series = Series(user, span, query.interval, account.zone, query.where, query.fields)
        content, begin, end = body_of_message(series.message), series.begin, series.end
    else:
        totals = totals_of(user, *span, query.where)
        content, begin, end = body_of_message(message(totals, query.fields)), totals.begin, totals.end
    token, version = (user.token, user.version) if user is not None else (None, 0)
    return Body(token, version, content, etag(content), begin, end)


def _reply(body: Body, moment: Moment) -> Reply:
    """The reply with that body. Range and ETag belong to the body; a cached body has the other headers of now."""
    is_complete = moment.fresh and not concern(moment.holes, body.begin, body.end)
    headers = {
        "ETag": body.etag,
        "X-Ecounters-Lag-Ms": str(moment.lag_ms),
        "X-Ecounters-Complete": "true" if is_complete else "false",
        "X-Ecounters-Suspected": str(moment.suspected),
        "X-Ecounters-Range": f"{_milliseconds(body.begin)}/{_milliseconds(body.end)}",
        "X-Ecounters-Position": f"{moment.partition}:{moment.position}",
    }
    if moment.watermark:
        headers["X-Ecounters-As-Of"] = _milliseconds(moment.watermark)
    return Reply(body.content, body.etag, headers)


def _milliseconds(at_ms: int) -> str:
    """ms since the Unix epoch -> RFC 3339 in UTC, to the millisecond."""
    return utc_text(at_ms, "milliseconds")
