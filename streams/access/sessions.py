"""Authorization: the account that the credentials of a request open, looked up in Redis and cached for a short time.

Every request for counters and every push connection is authorized by ``Sessions``. ``accounts`` changes users and
sessions; ``store`` says how they are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ecounters.errors import DENIED, LOGGED_OUT, NO_STORE, NO_USER, RequestRefused
from streams.access.store import (
    OVERALL_COUNT,
    REDIS_LIMIT_S,
    connect,
    decoded,
    encode,
    read_hash,
    session_key,
    token_matches,
    user_key,
)
from streams.basics.times import zone_named

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1.0
"""For this time after a failure of Redis no look-up is tried: each would make a request wait for REDIS_LIMIT_S."""

FRESH_S: Final = 2.0
"""After a look-up, the cached account is used for this time without another look-up. So a session that is closed stays
usable for at most this long, or for ``cache_s`` of ``Sessions`` while Redis cannot be reached."""

CACHED_MAX: Final = 10_000
"""How many accounts are cached, of some 500 bytes each. Beyond this, those looked up longest ago are dropped."""

T = TypeVar("T")


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
    """The user whose counters a request may see, and the time zone in which this user's days begin."""

    user_id: str
    zone: ZoneInfo


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
    monotonic seconds. ``authorize`` and ``zone_of`` end within about REDIS_LIMIT_S, whatever Redis does. One warning is
    logged when Redis fails, and one when it works again.
    """

    def __init__(self, redis: Redis, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._cache_s = cache_s
        self._clock = clock
        self._cache: OrderedDict[bytes, _CachedAccount] = OrderedDict()  # key: see _cache_key
        self._retry_at = 0.0
        self._reachable = True

    @classmethod
    def connect(cls, redis_url: str, cache_s: float) -> Self:
        """Sessions with a Redis client of their own. ``close`` them at the end."""
        return cls(connect(redis_url), cache_s)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    async def authorize(self, credentials: Credentials) -> Account:
        """The account that the credentials open, from the cache (see FRESH_S) or looked up and cached now.

        Raises RequestRefused: 1002 if there is neither an ssid nor a user id; 1015 for wrong credentials or a denied
        permission, always with the same text; 1043 for the session of an agent who is not logged in; 1010 if Redis
        cannot be reached, and either it did not confirm these credentials within the last ``cache_s`` seconds or their
        session has expired. Credentials that are refused with 1015 or 1043 are removed from the cache.
        """
        if not credentials.ssid and not credentials.user_id:
            raise RequestRefused(NO_USER, "give ssid, or userId and token")
        key = _cache_key(credentials)
        cached = self._cache.get(key)
        now = self._clock()
        if cached is not None and now < min(cached.confirmed_at + FRESH_S, cached.ends_at):
            return cached.account
        try:
            account, ends_at = await self._bounded(self._look_up(credentials))
        except _Unreachable:
            if cached is not None and now < min(cached.confirmed_at + self._cache_s, cached.ends_at):
                return cached.account
            raise RequestRefused(NO_STORE, "the session store cannot be reached; try again shortly") from None
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

    async def zone_of(self, user_id: str) -> ZoneInfo | None:
        """A user's time zone; None if there is no such user or Redis cannot be reached."""
        try:
            user = await self._bounded(read_hash(self._redis, user_key(user_id)))
        except _Unreachable:
            return None
        return zone_named(user["zone"]) if user else None

    async def _look_up(self, credentials: Credentials) -> tuple[Account, float]:
        """(the account, when its session expires by the clock of ``Sessions``; infinity for a token), from Redis.

        Raises RequestRefused (1015, 1043), and errors of Redis.
        """
        user_id, session, ends_at = credentials.user_id, None, float("inf")
        if credentials.ssid:
            session, left_ms = await self._session(credentials.ssid)
            user_id = session.get("user", "")
            ends_at = self._clock() + left_ms / 1000
        user = await read_hash(self._redis, user_key(user_id or ""))
        allowed = token_matches(user, credentials.token)
        if session is not None:
            agree = credentials.user_id in (None, user_id) and (credentials.token is None or allowed)
            allowed = agree and bool(user) and session.get("born") == user["born"]
        if not allowed or OVERALL_COUNT in user["deny"].split():
            raise RequestRefused(DENIED)
        if session is not None and session["agent"] and session["logged_in"] != "1":
            raise RequestRefused(LOGGED_OUT)
        return Account(user_id or "", zone_named(user["zone"])), ends_at

    async def _session(self, ssid: str) -> tuple[dict[str, str], int]:
        """(the hash of a session, ms until the session expires); ({}, -2) if there is no such session."""
        key = session_key(ssid)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(key)
            pipe.pttl(key)
            fields, left_ms = await pipe.execute()
        return decoded(fields), left_ms

    async def _bounded(self, look_up: Coroutine[Any, Any, T]) -> T:
        """The result of a look-up in Redis. Raises what the look-up raises, but _Unreachable for errors of Redis.

        Raises _Unreachable also for a look-up that takes longer than REDIS_LIMIT_S, and for every look-up within
        RETRY_AFTER_S after a failure, which is not begun. Logs the first failure and the first reply after it.
        """
        if self._clock() < self._retry_at:
            look_up.close()
            raise _Unreachable
        try:
            async with asyncio.timeout(REDIS_LIMIT_S):
                result = await look_up
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._retry_at = self._clock() + RETRY_AFTER_S
            if self._reachable:
                log.warning("Redis cannot be used, log-ins stop: %s %s", type(error).__name__, error)
            self._reachable = False
            raise _Unreachable from error
        except RequestRefused:
            self._note_reachable()
            raise
        self._note_reachable()
        return result

    def _note_reachable(self) -> None:
        """Note that Redis replied; log it after an outage."""
        if not self._reachable:
            log.warning("Redis can be used again")
        self._reachable = True


class _Unreachable(Exception):
    """Redis failed, did not reply within REDIS_LIMIT_S, or has done either within the last RETRY_AFTER_S."""


def _cache_key(credentials: Credentials) -> bytes:
    """A hash of the credentials, so that the cache holds no secret in clear text."""
    return hashlib.sha256(encode(repr((credentials.ssid, credentials.user_id, credentials.token)))).digest()
