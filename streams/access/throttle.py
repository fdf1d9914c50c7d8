"""Against guessing: whoever gives wrong credentials too often in a minute is told to wait.

Counted are an address and a user, each for itself. Credentials that were good on this worker before are let through
to be checked all the same: so a stranger who guesses, even from the same proxy, locks out nobody who is at work.
"""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from ecounters.errors import DENIED, RequestRefused
from streams.access.sessions import Account, Credentials, Sessions

MINUTE_S: Final = 60.0
COUNTED_MAX: Final = 10_000
"""Addresses and users that are counted at a time, 1 KB each at most; of more, those longest ago are forgotten."""


_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+")
"""As some proxies write addresses. The port is another one with each connection."""


class _Count(NamedTuple):
    """``wrong``: how often in the minute that began then."""

    begun_at: float
    wrong: int


class Throttle:
    """Counts wrong credentials. ``per_min``: so many are answered with what was wrong. ``clock``: monotonic seconds."""

    def __init__(self, per_min: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_min = per_min
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def check(self, address: str, user_id: str | None) -> None:
        """Refused, 429, if this address or user has had its share of this minute."""
        now = self._clock()
        counts = [self._counts.get(key) for key in _keys(address, user_id)]
        left_s = [one.begun_at + MINUTE_S - now for one in counts if one is not None and one.wrong >= self._per_min]
        if left_s and max(left_s) > 0:
            wait_s = math.ceil(max(left_s))
            why = f"wrong too often, try again in {wait_s} s"
            raise RequestRefused(DENIED, why, http_status=429, retry_after_s=wait_s)

    def count(self, address: str, user_id: str | None) -> None:
        """These were wrong."""
        now = self._clock()
        for key in _keys(address, user_id):
            count = self._counts.get(key)
            if count is None or now >= count.begun_at + MINUTE_S:
                self._counts.pop(key, None)
                count = _Count(now, 0)
            self._counts[key] = _Count(count.begun_at, count.wrong + 1)
        while len(self._counts) > COUNTED_MAX:
            self._counts.popitem(last=False)


class ThrottledLogin:
    """Sessions, throttled."""

    def __init__(self, sessions: Sessions, throttle: Throttle) -> None:
        self._sessions = sessions
        self._throttle = throttle

    async def authorize(self, given: Credentials, address: str) -> Account:
        """The account that these credentials open, or Refused: as ``Sessions.authorize``, and 429."""
        if self._sessions.knows(given):
            return await self._sessions.authorize(given)
        self._throttle.check(address, given.user_id)
        try:
            account = await self._sessions.authorize(given)
        except RequestRefused as refused:
            if refused.code == DENIED:
                self._throttle.check(address, given.user_id)
                self._throttle.count(address, given.user_id)
            raise
        # Again: of many guesses at a time, no more must be told right from wrong than of one after the other.
        self._throttle.check(address, given.user_id)
        return account


def _keys(address: str, user_id: str | None) -> list[tuple[str, str]]:
    keys = [("address", _site(address))]
    if user_id:
        keys.append(("user", user_id))
    return keys


def _site(address: str) -> str:
    """What one sender has for sure: an IPv4 address, or the /64 that an IPv6 address is in."""
    told = _WITH_PORT.fullmatch(address)
    address = (told["v6"] or told["v4"]) if told else address
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 6:
        # All of IPv4 is in one /64 of these.
        found = found.ipv4_mapped or found
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
