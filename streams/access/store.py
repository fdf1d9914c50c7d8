"""How users, tokens and sessions are stored in Redis: the keys, the hashes of secrets, and the connection.

Redis is the source of truth. ``sessions`` reads it to authorize requests; ``accounts`` changes it. All values are text.

    key                                  value
    ecounters:users                      set: all user ids
    ecounters:user:<user id>             hash: born, zone, deny, salt, token
    ecounters:session:<SHA-256 of ssid>  hash: user, born, agent, logged_in; Redis deletes it when the session expires
    ecounters:sessions:<user id>         sorted set: keys of the user's sessions, by the time of their opening
    ecounters:networks:<user id>         sorted set: hashes of networks, by the time in s of the last log-in from there

* ``born``: random, drawn when the user is added. A session has a copy and is valid only while both are equal. So
  removing a user makes all its sessions invalid, and adding the same user id again does not revive them.
* ``zone``: the IANA name of the user's time zone. ``deny``: names of PERMISSIONS, separated by spaces.
* ``token``: HMAC-SHA-256 of the user's token with the key ``salt``, in hex.
* The sorted set of sessions can hold keys of sessions that have ended. Sessions of versions before 0.3 are in no sorted
  set: they work until they expire.
* ``agent``: an agent's name, "" if the session is not an agent's. ``logged_in``: "1" or "0".

No ssid and no token is stored or logged in clear text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Mapping
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ecounters.errors import SettingsError, Stop
from streams.settings.redis_urls import SentinelUrl, has_tls, is_sentinel, sentinel_url

REDIS_LIMIT_S: Final = 5.0
"""How long a single wait for Redis takes at most: for a connection to be accepted, or for a reply. ``look_ups`` has a
shorter limit of its own, because requests wait for it."""
SENTINEL_LIMIT_S: Final = 0.5
"""How long a sentinel may take to be connected to, and to reply: the next one is asked then."""
POOL_MAX: Final = 50
"""The most connections of one client."""
POOL_WAIT_S: Final = 5.0
"""How long a command waits for a connection while all POOL_MAX are busy. Then it fails, as if Redis were away."""

OVERALL_COUNT: Final = "overallCount"
"""The permission to query the counters."""
PERMISSIONS: Final = (OVERALL_COUNT,)
"""All permissions that a user can be denied."""

TOKEN_MIN: Final = 16
"""The fewest characters of a new token. Who shares a network with a user can guess without being slowed down."""
TOKEN_MAX: Final = 512
"""The most characters of a token. The API refuses longer tokens."""

USERS_KEY: Final = "ecounters:users"
SESSION_PREFIX: Final = b"ecounters:session:"
SESSIONS_PREFIX: Final = b"ecounters:sessions:"


def connect(redis_url: str, ca: str = "") -> Redis:
    """A Redis client with a pool of its own. It connects at its first command. ``aclose`` it at the end.

    ``redis_url``: as the setting. ``ca``: the path of the authorities to trust; "": those of the system. Raises
    SettingsError if redis-py does not know a parameter behind the URL's "?", or not its value.
    """
    options: dict[str, Any] = {
        "socket_timeout": REDIS_LIMIT_S,
        "socket_connect_timeout": REDIS_LIMIT_S,
        # One retry: a connection that the server closed while it was idle fails only at its next use.
        "retry": Retry(NoBackoff(), 1),
    }
    if has_tls(redis_url) and ca:
        options["ssl_ca_certs"] = ca
    waiting = {"timeout": POOL_WAIT_S, "max_connections": POOL_MAX}
    if is_sentinel(redis_url):
        return Redis.from_pool(_pool_behind(sentinel_url(redis_url), options, waiting))
    try:
        pool = BlockingConnectionPool.from_url(redis_url, **options, **waiting)
        pool.make_connection()  # connects to nothing; the first command would raise its TypeError
    except (TypeError, ValueError, RedisError):
        raise SettingsError('ECOUNTERS_REDIS is wrong: redis-py cannot use a parameter behind its "?"') from None
    return Redis.from_pool(pool)


class WaitingSentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """A pool that asks sentinels where the master is, and in which a command waits for a connection while all are busy.

    A connection that has failed is opened anew to the master of then. ``sentinels``: closed together with the pool.
    """

    async def get_master_address(self) -> Any:
        """The address of the master. Raises MasterNotFoundError, a ConnectionError: redis-py's text has many lines."""
        try:
            return await super().get_master_address()  # type: ignore[no-untyped-call]
        except MasterNotFoundError:
            raise MasterNotFoundError(f"no sentinel knows a master {self.service_name} that is alive") from None

    async def aclose(self) -> None:
        """Close all connections, those to the sentinels too."""
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


def _pool_behind(url: SentinelUrl, options: Mapping[str, Any], waiting: Mapping[str, Any]) -> WaitingSentinelPool:
    """The pool for a Redis behind Sentinel. Sentinels are asked in turn, so each has little time and no second try."""
    asking = {
        **options,
        "socket_timeout": SENTINEL_LIMIT_S,
        "socket_connect_timeout": SENTINEL_LIMIT_S,
        "retry": Retry(NoBackoff(), 0),
        "username": url.sentinel_user or None,
        "password": url.sentinel_password or None,
        "ssl": url.has_tls,
    }
    return WaitingSentinelPool(  # type: ignore[no-untyped-call]
        url.master,
        Sentinel(url.sentinels, sentinel_kwargs=asking),
        db=url.database,
        username=url.user or None,
        password=url.password or None,
        ssl=url.has_tls,
        **options,
        **waiting,
    )


async def read_hash(redis: Redis, key: bytes) -> dict[str, str]:
    """All fields of a hash; {} if there is no such key."""
    return decoded(await cast(Awaitable[dict[bytes, bytes]], redis.hgetall(key)))


def user_key(user_id: str) -> bytes:
    """The key of a user's hash."""
    return b"ecounters:user:" + encode(user_id)


def session_key(ssid: str) -> bytes:
    """The key of a session's hash. It holds the SHA-256 of the ssid, so that no reader of Redis can use the session."""
    return SESSION_PREFIX + hashlib.sha256(encode(ssid)).hexdigest().encode()


def sessions_key(user_id: str) -> bytes:
    """The key of the sorted set of a user's sessions."""
    return SESSIONS_PREFIX + encode(user_id)


def networks_key(user_id: str) -> bytes:
    """The key of the sorted set of the networks from which a user has logged in."""
    return b"ecounters:networks:" + encode(user_id)


def token_fields(token: str) -> dict[str, str]:
    """The fields ``salt`` and ``token`` of a user's hash, with a new salt. Raises Stop for a token that is too easy."""
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX or not token.isprintable() or token != token.strip():
        raise Stop(
            f"a token must have {TOKEN_MIN} to {TOKEN_MAX} printable characters, without white space at either end"
        )
    salt = secrets.token_hex(16)
    return {"salt": salt, "token": _token_hash(salt, token)}


def token_matches(user: Mapping[str, str], token: str | None) -> bool:
    """Whether ``token`` is the token of the user with this hash, which is {} if there is no such user.

    A token is hashed also if there is no user or no token, so that the time does not reveal which user ids exist.
    """
    matches = hmac.compare_digest(_token_hash(user.get("salt", ""), token or ""), user.get("token", ""))
    return matches and token is not None


def _token_hash(salt: str, token: str) -> str:
    return hmac.new(salt.encode(), encode(token), hashlib.sha256).hexdigest()


def encode(text: str) -> bytes:
    """``text`` in UTF-8. Lone surrogates, which JSON can contain, do not raise: an id with one just matches nothing."""
    return text.encode(errors="surrogatepass")


def decode(content: bytes) -> str:
    """The text that ``encode`` turned into ``content``."""
    return content.decode(errors="surrogatepass")


def decoded(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash of Redis with its names and values as text."""
    return {decode(name): decode(value) for name, value in fields.items()}
