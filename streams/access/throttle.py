"""A throttle against guessing: after too many wrong credentials within a minute, further credentials get a 429.

Wrong credentials are counted for the client's network and, separately, for the user id. The 429 is for right and wrong
credentials, with two exceptions, so that a stranger who guesses, even behind the same proxy, locks nobody out:

* Credentials in the cache of ``Sessions`` are not throttled.
* From a network from which the user has logged in before, right credentials are always accepted. Wrong ones get the
  429. So who shares a network with a user can guess on: the length of tokens and ssids must protect from that.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from ecounters.errors import DENIED, RequestRefused
from streams.access.known_networks import KnownNetworks, network_of
from streams.access.look_ups import Crowded, Unreachable
from streams.access.sessions import Account, Credentials, Sessions, no_store

MINUTE_S: Final = 60.0
COUNTED_MAX: Final = 10_000
"""How many addresses and user ids have a count, of some 1 KB each. Beyond this the oldest counts are dropped."""


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

    def __init__(self, sessions: Sessions, throttle: Throttle, known: KnownNetworks) -> None:
        self._sessions = sessions
        self._throttle = throttle
        self._known = known

    async def authorize(self, credentials: Credentials, address: str) -> Account:
        """The account that the credentials open. Notes that its user has logged in from the network of ``address``.

        Counts credentials that are refused with 1015 for ``address`` and for their user id, unless they are in the
        cache of ``Sessions``. Raises RequestRefused as ``Sessions.authorize``, and 429 as ``Throttle.check``.
        """
        if self._sessions.knows(credentials):
            account = await self._sessions.authorize(credentials)
        else:
            account = await self._authorize_throttled(credentials, address)
        await self._known.note(account, network_of(address))
        return account

    async def _authorize_throttled(self, credentials: Credentials, address: str) -> Account:
        """``authorize`` for credentials that are not in the cache."""
        try:
            self._throttle.check(address, credentials.user_id)
        except RequestRefused:
            # Whether the credentials are right is not looked up for unknown networks: the time must not reveal it.
            if not await self._is_known(*await self._sessions.claimed_user(credentials), address):
                raise
        try:
            account = await self._sessions.authorize(credentials)
        except RequestRefused as refused:
            if refused.code == DENIED:
                self._throttle.check(address, credentials.user_id)
                self._throttle.count(address, credentials.user_id)
            raise
        try:
            # Check again: guesses that were sent at the same time have all passed the first check. Without the second
            # check the sender would learn of all of them whether they are right, and not of ``per_min`` alone.
            self._throttle.check(address, credentials.user_id)
        except RequestRefused:
            if not await self._is_known(account.user_id, account.born, address):
                raise
        return account

    async def _is_known(self, user_id: str, born: str, address: str) -> bool:
        """``KnownNetworks.has``, but raises RequestRefused (1010) if Redis cannot be reached."""
        try:
            return await self._known.has(user_id, born, network_of(address))
        except (Unreachable, Crowded) as why:
            raise no_store(why) from None


def _keys(address: str, user_id: str | None) -> list[tuple[str, str]]:
    """The keys of the counts: ("address", network) and, if there is a user id, ("user", user id)."""
    keys = [("address", network_of(address))]
    if user_id:
        keys.append(("user", user_id))
    return keys
