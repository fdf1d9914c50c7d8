"""A throttle against guessing: after too many wrong credentials within a minute, further credentials get a 429.

Wrong credentials are counted for the client's address and, separately, for the user id. The 429 is for right and wrong
credentials, but not for those in the cache of ``Sessions``. So a stranger who guesses, even behind the same proxy, does
not lock out people who are working already.
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
"""How many addresses and user ids have a count, of some 1 KB each. Beyond this the oldest counts are dropped."""

_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+")
"""An address as some proxies write it: [v6], [v6]:port or v4:port. Each connection has another port."""


class _Count(NamedTuple):
    """The wrong credentials of an address or user id within a minute.

    ``begun_at``: the begin of the minute, in s of the throttle's clock. ``wrong``: how many there were.
    """

    begun_at: float
    wrong: int


class Throttle:
    """Counts wrong credentials by address and by user id.

    ``per_min``: how many wrong credentials are allowed in a minute. The minute of an address or user id begins with its
    first wrong credentials. ``clock``: monotonic seconds.
    """

    def __init__(self, per_min: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_min = per_min
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()  # key: see _keys

    def check(self, address: str, user_id: str | None) -> None:
        """Raise RequestRefused (429) if the address or the user id had ``per_min`` wrong credentials in its minute."""
        now = self._clock()
        counts = [self._counts.get(key) for key in _keys(address, user_id)]
        waits_s = [
            count.begun_at + MINUTE_S - now for count in counts if count is not None and count.wrong >= self._per_min
        ]
        if waits_s and max(waits_s) > 0:
            wait_s = math.ceil(max(waits_s))
            why = f"wrong too often, try again in {wait_s} s"
            raise RequestRefused(DENIED, why, http_status=429, retry_after_s=wait_s)

    def count(self, address: str, user_id: str | None) -> None:
        """Count wrong credentials once for the address, and once for the user id if there is one."""
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
    """``Sessions.authorize`` behind a Throttle."""

    def __init__(self, sessions: Sessions, throttle: Throttle) -> None:
        self._sessions = sessions
        self._throttle = throttle

    async def authorize(self, credentials: Credentials, address: str) -> Account:
        """The account that the credentials open. Credentials in the cache of ``Sessions`` are not throttled.

        Counts other credentials that are refused with 1015 for ``address`` and for their user id. Raises RequestRefused
        as ``Sessions.authorize``, and 429 as ``Throttle.check``, also for right credentials.
        """
        if self._sessions.knows(credentials):
            return await self._sessions.authorize(credentials)
        self._throttle.check(address, credentials.user_id)
        try:
            account = await self._sessions.authorize(credentials)
        except RequestRefused as refused:
            if refused.code == DENIED:
                self._throttle.check(address, credentials.user_id)
                self._throttle.count(address, credentials.user_id)
            raise
        # Check again: guesses that were sent at the same time have all passed the first check. Without the second check
        # the sender would learn of all of them whether they are right, and not of ``per_min`` alone.
        self._throttle.check(address, credentials.user_id)
        return account


def _keys(address: str, user_id: str | None) -> list[tuple[str, str]]:
    """The keys of the counts: ("address", network) and, if there is a user id, ("user", user id)."""
    keys = [("address", _network(address))]
    if user_id:
        keys.append(("user", user_id))
    return keys


def _network(address: str) -> str:
    """The part of an address that one client cannot change at will: an IPv4 address, or the /64 of an IPv6 address.

    An IPv4-mapped IPv6 address (::ffff:192.0.2.1) counts as the IPv4 address, because all of those are in one /64. A
    port is left out. Text that is no address is returned without further changes.
    """
    match = _WITH_PORT.fullmatch(address)
    address = (match["v6"] or match["v4"]) if match else address
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        ip = ip.ipv4_mapped or ip
    if ip.version == 4:
        return str(ip)
    return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
