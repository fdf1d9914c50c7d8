"""Authorization: the account that the credentials of a request open, looked up in Redis and cached for a short time.

Every request for counters and every push connection is authorized by ``Sessions``. ``accounts`` changes users and
sessions; ``store`` says how they are stored.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, Self
from zoneinfo import ZoneInfo

from ecounters.errors import DENIED, LOGGED_OUT, NO_STORE, NO_USER, RequestRefused
from streams.access.look_ups import Crowded, LookUps, Unreachable
from streams.access.store import OVERALL_COUNT, connect, decoded, encode, session_key, token_matches, user_key
from streams.basics.times import zone_named

FRESH_S: Final = 2.0
"""After a look-up, the cached account is used for this time without another look-up. So a session that is closed stays
usable for at most this long, or for ``cache_s`` of ``Sessions`` while Redis cannot be reached."""

CACHED_MAX: Final = 10_000
"""How many accounts are cached, of some 500 bytes each. Beyond this, those looked up longest ago are dropped."""


class Credentials(Protocol):
    """How a request says who sends it: by an ssid, or by a user id and a token. None: not in the request."""

    @property
    def ssid(self) -> str | None: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """The user whose counters a request may see, and the time zone in which this user's days begin.

    ``born``: as in ``store``. It makes no difference to whether two accounts are equal.
    """

    user_id: str
    zone: ZoneInfo
    born: str = field(default="", compare=False)


class _CachedAccount(NamedTuple):
    """An account that some credentials opened. Times are in s, by the clock of ``Sessions``.

    ``confirmed_at``: when the last successful look-up of the credentials began. ``ends_at``: when the session expires;
    infinity for a token.
    """

    account: Account
    confirmed_at: float
    ends_at: float


class Sessions:
    """Authorizes requests by the users and sessions in Redis.

    ``cache_s``: how long after its last look-up a cached account is used while Redis cannot be reached. ``clock``:
    monotonic seconds. ``authorize`` and ``zone_of`` end within some seconds, whatever Redis does: each of their two
    look-ups takes WAIT_LIMIT_S at most. A refusal is not cached: it could outlive the opening of a session.
    """

    def __init__(self, look_ups: LookUps, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_ups = look_ups
        self._cache_s = cache_s
        self._clock = clock
        self._cache: OrderedDict[bytes, _CachedAccount] = OrderedDict()  # key: see _cache_key

    @classmethod
    def connect(cls, redis_url: str, cache_s: float, ca: str = "") -> Self:
        """Sessions with a Redis client of their own. ``close`` them at the end."""
        return cls(LookUps(connect(redis_url, ca)), cache_s)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._look_ups.close()

    async def authorize(self, credentials: Credentials) -> Account:
        """The account that the credentials open, from the cache (see FRESH_S) or looked up and cached now.

        Raises RequestRefused: 1002 if there is neither an ssid nor a user id; 1015 for wrong credentials or a denied
        permission, always with the same text; 1043 for the session of an agent who is not logged in; 1010 if Redis
        cannot be reached or too many requests wait for it, and either it did not confirm these credentials within the
        last ``cache_s`` seconds or their session has expired. Credentials that are refused with 1015 or 1043 are
        removed from the cache.
        """
        if not credentials.ssid and not credentials.user_id:
            raise RequestRefused(NO_USER, "give ssid, or userId and token")
        key = _cache_key(credentials)
        cached = self._cache.get(key)
        now = self._clock()
        if cached is not None and now < min(cached.confirmed_at + FRESH_S, cached.ends_at):
            return cached.account
        try:
            account, ends_at = await self._look_up(credentials)
        except (Unreachable, Crowded) as why:
            if cached is not None and now < min(cached.confirmed_at + self._cache_s, cached.ends_at):
                return cached.account
            raise no_store(why) from None
        except RequestRefused:
            self._cache.pop(key, None)
            raise
        self._cache[key] = _CachedAccount(account, now, ends_at)
        self._cache.move_to_end(key)
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return account

    def knows(self, credentials: Credentials) -> bool:
        """Whether the account of these credentials is in the cache, however old.

        Then Redis confirmed the credentials when it last replied to a look-up of them.
        """
        return _cache_key(credentials) in self._cache

    async def claimed_user(self, credentials: Credentials) -> tuple[str, str]:
        """(the user whose counters the credentials are for, its ``born``), whether or not the credentials are right.

        ("", "") if no such user is known. Raises RequestRefused (1010) if Redis cannot be reached.
        """
        try:
            if not credentials.ssid:
                user_id = credentials.user_id or ""
                return user_id, (await self._user(user_id)).get("born", "")
            session, _ = await self._session(credentials.ssid)
            return session.get("user", ""), session.get("born", "")
        except (Unreachable, Crowded) as why:
            raise no_store(why) from None

    async def zone_of(self, user_id: str) -> ZoneInfo | None:
        """A user's time zone; None if there is no such user or Redis cannot be reached."""
        try:
            user = await self._user(user_id)
        except (Unreachable, Crowded):
            return None
        return zone_named(user["zone"]) if user else None

    async def _look_up(self, credentials: Credentials) -> tuple[Account, float]:
        """(the account, when its session expires by the clock of ``Sessions``; infinity for a token), from Redis.

        Raises RequestRefused (1015, 1043), Unreachable and Crowded.
        """
        user_id, session, ends_at = credentials.user_id, None, float("inf")
        if credentials.ssid:
            session, left_ms = await self._session(credentials.ssid)
            user_id = session.get("user", "")
            ends_at = self._clock() + left_ms / 1000
        user = await self._user(user_id or "")
        allowed = token_matches(user, credentials.token)
        if session is not None:
            agree = credentials.user_id in (None, user_id) and (credentials.token is None or allowed)
            allowed = agree and bool(user) and session.get("born") == user["born"]
        if not allowed or OVERALL_COUNT in user["deny"].split():
            raise RequestRefused(DENIED)
        if session is not None and session["agent"] and session["logged_in"] != "1":
            raise RequestRefused(LOGGED_OUT)
        return Account(user_id or "", zone_named(user["zone"]), user["born"]), ends_at

    async def _session(self, ssid: str) -> tuple[dict[str, str], int]:
        """(the hash of a session, ms until the session expires); ({}, -2) if there is no such session."""
        key = session_key(ssid)
        fields, left_ms = await self._look_ups.ask(("HGETALL", key), ("PTTL", key))
        return decoded(fields), left_ms

    async def _user(self, user_id: str) -> dict[str, str]:
        """The hash of a user; {} if there is no such user."""
        [fields] = await self._look_ups.ask(("HGETALL", user_key(user_id)))
        return decoded(fields)


def _cache_key(credentials: Credentials) -> bytes:
    """A hash of the credentials, so that the cache holds no secret in clear text."""
    return hashlib.sha256(encode(repr((credentials.ssid, credentials.user_id, credentials.token)))).digest()


def no_store(why: Unreachable | Crowded) -> RequestRefused:
    """The refusal (1010) of a request whose look-up failed. Its text says whether Redis cannot be reached."""
    if isinstance(why, Crowded):
        return RequestRefused(NO_STORE, "too many requests wait for the session store; try again shortly")
    return RequestRefused(NO_STORE, "the session store cannot be reached; try again shortly")
