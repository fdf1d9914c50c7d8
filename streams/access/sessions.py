"""Who may ask: users, their tokens and their sessions. Redis is the source of truth.

Keys (all values are text; times to live are Redis's own):

* ``ecounters:users``                      set of user ids
* ``ecounters:user:<user id>``             hash: born, zone, salt, token (HMAC-SHA-256 of the token, hex), deny
* ``ecounters:session:<sha256 of ssid>``   hash: user, born, agent ("" if it is nobody's), logged_in ("1" or "0")

``born`` is drawn when a user is added. A session holds its user's, and is good only while they are equal: so removing
a user ends all sessions at once, and a later user of the same name does not get them back.

Neither ssid nor token is kept anywhere in clear, nor logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast
from zoneinfo import ZoneInfo

from redis.asyncio import Redis, WatchError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ecounters.errors import DENIED, LOGGED_OUT, NO_STORE, NO_USER, RequestRefused, Stop
from streams.settings.table import Settings, zone_named

log = logging.getLogger(__name__)

REDIS_LIMIT_S: Final = 1.0
"""For one question to Redis, all in all. A request waits for it, so it must be short."""

RETRY_AFTER_S: Final = 1.0
"""After a failure Redis is left alone for so long: without that, each request would wait REDIS_LIMIT_S."""

FRESH_S: Final = 2.0
"""An answer so young is used without asking again. A closed session can be used so much longer, no more."""

CACHED_MAX: Final = 10_000
"""Answers kept in memory; some 500 bytes each."""

POOL_MAX: Final = 50
"""Connections of one worker; further questions wait for one, within REDIS_LIMIT_S."""

OVERALL_COUNT: Final = "overallCount"
PERMISSIONS: Final = (OVERALL_COUNT,)
"""What a user can be denied."""

TEXT_MAX: Final = 128
"""Characters of a user id (as in events) and of an agent's name."""

SSID_BYTES: Final = 24
TOKEN_BYTES: Final = 24
TOKEN_MAX: Final = 512
"""Characters; the API takes no longer ones."""

_USERS: Final = "ecounters:users"

T = TypeVar("T")


class Credentials(Protocol):
    """What a request says of its sender; ``ecounters.query.request.Query`` is one. None: not given."""

    @property
    def ssid(self) -> str | None: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """Whose counters may be seen, and in which zone this user's days are."""

    user_id: str
    zone: ZoneInfo


class UserInfo(NamedTuple):
    """A user as ``list_users`` gives it. ``zone``: an IANA name."""

    user_id: str
    zone: str
    deny: tuple[str, ...]


class _Known(NamedTuple):
    """An answer that was yes. Times are of the clock given to Sessions, in seconds."""

    account: Account
    asked_at: float
    ends_at: float


class Sessions:
    """Users and sessions in Redis.

    ``authorize`` and ``zone_of`` answer in about a second at most, whatever Redis does. The others are for commands,
    and let redis.RedisError through. ``clock``: monotonic seconds.
    """

    def __init__(self, redis: Redis, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._cache_s = cache_s
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._ask_again_at = 0.0
        self._reachable = True

    @classmethod
    def connect(cls, settings: Settings) -> Sessions:
        """On a pool of connections of its own, made when they are needed. ``close`` it at the end."""
        redis = Redis.from_url(
            settings.redis,
            socket_timeout=REDIS_LIMIT_S,
            socket_connect_timeout=REDIS_LIMIT_S,
            max_connections=POOL_MAX,
            # Once: a connection that the server has closed since is noticed at its next use only.
            retry=Retry(NoBackoff(), 1),
        )
        return cls(redis, settings.session_cache_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    # ------------------------------------------------------------------------------------ may this one ask

    async def authorize(self, given: Credentials) -> Account:
        """The account that these credentials open, or Refused.

        1002: neither ssid nor userId. 1015: anything wrong with what was given, always in the same words. 1043: the
        session of an agent who is not logged in. 1010: Redis cannot be asked, and these were not seen to be good
        within ``cache_s``.
        """
        if not given.ssid and not given.user_id:
            raise RequestRefused(NO_USER, "give ssid, or userId and token")
        key = _key_of(given)
        known = self._known.get(key)
        now = self._clock()
        if known is not None and now < min(known.asked_at + FRESH_S, known.ends_at):
            return known.account
        try:
            account, ends_at = await self._bounded(self._look_up(given))
        except _Unreachable:
            if known is not None and now < min(known.asked_at + self._cache_s, known.ends_at):
                return known.account
            raise RequestRefused(NO_STORE, "the session store cannot be reached; try again shortly") from None
        except RequestRefused:
            self._known.pop(key, None)
            raise
        self._known[key] = _Known(account, now, ends_at)
        self._known.move_to_end(key)
        if len(self._known) > CACHED_MAX:
            self._known.popitem(last=False)
        return account

    def knows(self, given: Credentials) -> bool:
        """Whether these were good when they were last looked up, however long ago that is."""
        return _key_of(given) in self._known

    async def zone_of(self, user_id: str) -> ZoneInfo | None:
        """The zone of a user's account; None while it cannot be had: no such account, or Redis cannot be asked."""
        try:
            user = await self._bounded(self._hash(_user_key(user_id)))
        except _Unreachable:
            return None
        return zone_named(user["zone"]) if user else None

    async def _look_up(self, given: Credentials) -> tuple[Account, float]:
        """The account and when what opened it ends, or Refused."""
        user_id, session, ends_at = given.user_id, None, float("inf")
        if given.ssid:
            session, left_ms = await self._session(given.ssid)
            user_id = session.get("user", "")
            ends_at = self._clock() + left_ms / 1000
        user = await self._hash(_user_key(user_id or ""))
        allowed = _token_matches(user, given.token)
        if session is not None:
            agree = given.user_id in (None, user_id) and (given.token is None or allowed)
            allowed = agree and bool(user) and session.get("born") == user["born"]
        if not allowed or OVERALL_COUNT in user["deny"].split():
            raise RequestRefused(DENIED)
        if session is not None and session["agent"] and session["logged_in"] != "1":
            raise RequestRefused(LOGGED_OUT)
        return Account(user_id or "", zone_named(user["zone"])), ends_at

    async def _session(self, ssid: str) -> tuple[dict[str, str], int]:
        """A session and the ms that it has left; ({}, -2) if there is none."""
        key = _session_key(ssid)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(key)
            pipe.pttl(key)
            found, left_ms = await pipe.execute()
        return _decoded(found), left_ms

    async def _hash(self, key: bytes) -> dict[str, str]:
        return _decoded(await cast(Awaitable[dict[bytes, bytes]], self._redis.hgetall(key)))

    async def _bounded(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer of a question to Redis, or _Unreachable within REDIS_LIMIT_S; at once if it just was so."""
        if self._clock() < self._ask_again_at:
            question.close()
            raise _Unreachable
        try:
            async with asyncio.timeout(REDIS_LIMIT_S):
                answer = await question
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._ask_again_at = self._clock() + RETRY_AFTER_S
            if self._reachable:
                log.warning("Redis cannot be used, log-ins stop: %s %s", type(error).__name__, error)
            self._reachable = False
            raise _Unreachable from error
        except RequestRefused:
            self._heard()
            raise
        self._heard()
        return answer

    def _heard(self) -> None:
        if not self._reachable:
            log.warning("Redis can be used again")
        self._reachable = True

    # ------------------------------------------------------------------------------------ users

    async def add_user(self, user_id: str, zone: str, token: str | None = None, deny: tuple[str, ...] = ()) -> str:
        """Add a user and give back the token, made if it is not given. Stop if the user is there already."""
        _check_text("user id", user_id)
        _check_known(deny)
        token = _drawn("t", TOKEN_BYTES) if token is None else token
        fields = {"born": secrets.token_hex(8), "zone": str(_zone(zone)), "deny": " ".join(deny), **_hashed(token)}
        if not await self._change(user_id, fields, expect=False):
            raise Stop(f"user {user_id} is there already; `ecounters user token {user_id}` makes a new token")
        return token

    async def new_token(self, user_id: str, token: str | None = None) -> str:
        """Replace a user's token by a new one, and give it back. Its sessions go on. Stop if there is no such user."""
        token = _drawn("t", TOKEN_BYTES) if token is None else token
        if not await self._change(user_id, _hashed(token), expect=True):
            raise _no_user(user_id)
        return token

    async def _change(self, user_id: str, fields: Mapping[str, str], *, expect: bool) -> bool:
        """Write fields of a user at once, if the user is (not) there as expected; whether it was."""
        key = _user_key(user_id)
        while True:
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(key)
                if bool(await pipe.exists(key)) is not expect:
                    return False
                pipe.multi()
                pipe.hset(key, mapping=cast(Any, fields))
                pipe.sadd(_USERS, _bytes(user_id))
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return True

    async def list_users(self) -> list[UserInfo]:
        """All users, by id."""
        found = await cast(Awaitable[set[bytes]], self._redis.smembers(_USERS))
        users = []
        for user_id in sorted(_text(one) for one in found):
            user = await self._hash(_user_key(user_id))
            if user:
                users.append(UserInfo(user_id, user["zone"], tuple(user["deny"].split())))
        return users

    async def remove_user(self, user_id: str) -> None:
        """Remove a user; with it all its sessions end. Stop if there is no such user."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(_user_key(user_id))
            pipe.srem(_USERS, _bytes(user_id))
            removed, _ = await pipe.execute()
        if not removed:
            raise _no_user(user_id)

    # ------------------------------------------------------------------------------------ sessions

    async def open_session(self, user_id: str, ttl_s: int, agent: str = "", *, logged_in: bool = True) -> str:
        """Open a session for ``ttl_s`` seconds and give back its ssid. Stop if there is no such user."""
        if agent:
            _check_text("agent's name", agent)
        elif not logged_in:
            raise Stop("only an agent can be not logged in: name one with --agent")
        if ttl_s < 1:
            raise Stop("a session must last a second at least")
        user = await self._hash(_user_key(user_id))
        if not user:
            raise _no_user(user_id)
        ssid = _drawn("s", SSID_BYTES)
        fields = {"user": user_id, "born": user["born"], "agent": agent, "logged_in": "1" if logged_in else "0"}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_session_key(ssid), mapping=cast(Any, fields))
            pipe.expire(_session_key(ssid), ttl_s)
            await pipe.execute()
        return ssid

    async def close_session(self, ssid: str) -> None:
        """End a session; workers take notice within FRESH_S. Stop if there is no such session."""
        if not await self._redis.delete(_session_key(ssid)):
            raise Stop("there is no such session: it has ended, or the ssid is mistyped")


def _drawn(letter: str, count: int) -> str:
    """A secret of so many random bytes. It begins with a letter: a "-" would be taken for an option."""
    return letter + secrets.token_urlsafe(count)


class _Unreachable(Exception):
    """Redis gave no answer in time, or not one to go by."""


def _no_user(user_id: str) -> Stop:
    return Stop(f"there is no user {user_id}; `ecounters user list` shows all")


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_named(name)
    except ValueError as why:
        raise Stop(f"zone {name!r} is wrong: it {why}") from None


def _check_text(what: str, text: str) -> None:
    if not 1 <= len(text) <= TEXT_MAX or not text.isprintable():
        raise Stop(f"the {what} must have 1 to {TEXT_MAX} characters, all of them printable")


def _check_known(deny: tuple[str, ...]) -> None:
    for name in deny:
        if name not in PERMISSIONS:
            raise Stop(f"{name!r} is nothing that can be denied; {', '.join(PERMISSIONS)} can")


def _hashed(token: str) -> dict[str, str]:
    """The fields that keep a token, under a new salt."""
    if not 1 <= len(token) <= TOKEN_MAX:
        raise Stop(f"a token must have 1 to {TOKEN_MAX} characters")
    salt = secrets.token_hex(16)
    return {"salt": salt, "token": _token_hash(salt, token)}


def _token_hash(salt: str, token: str) -> str:
    return hmac.new(salt.encode(), _bytes(token), hashlib.sha256).hexdigest()


def _token_matches(user: Mapping[str, str], token: str | None) -> bool:
    """Whether it is the user's. As much work for no user or no token as for a wrong one."""
    matches = hmac.compare_digest(_token_hash(user.get("salt", ""), token or ""), user.get("token", ""))
    return matches and token is not None


def _user_key(user_id: str) -> bytes:
    return b"ecounters:user:" + _bytes(user_id)


def _session_key(ssid: str) -> bytes:
    return b"ecounters:session:" + hashlib.sha256(_bytes(ssid)).hexdigest().encode()


def _key_of(given: Credentials) -> bytes:
    return hashlib.sha256(_bytes(repr((given.ssid, given.user_id, given.token)))).digest()


def _bytes(text: str) -> bytes:
    """UTF-8. A lone surrogate, which JSON can spell, must find nothing and not raise."""
    return text.encode(errors="surrogatepass")


def _text(content: bytes) -> str:
    return content.decode(errors="surrogatepass")


def _decoded(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in found.items()}
