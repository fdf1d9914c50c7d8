"""Adds, changes and removes users and sessions in Redis: for commands, and for the dashboard's log-in and log-out.

``sessions`` decides what a user or a session permits; ``store`` says how both are stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, cast
from zoneinfo import ZoneInfo

from redis.asyncio import Redis, WatchError

from ecounters.errors import Stop
from streams.access.scripts import CLOSE_SESSION, OPEN_SESSION, REMOVE_USER
from streams.access.store import (
    PERMISSIONS,
    SESSION_PREFIX,
    SESSIONS_PREFIX,
    USERS_KEY,
    connect,
    decode,
    encode,
    networks_key,
    read_hash,
    session_key,
    sessions_key,
    token_fields,
    user_key,
)
from streams.basics.times import zone_named
from streams.settings.table import Settings

TEXT_MAX: Final = 128
"""The most characters of a user id, as in events, and of an agent's name."""

SSID_BYTES: Final = 24
"""Random bytes in an ssid: 192 bits cannot be guessed."""
TOKEN_BYTES: Final = 24
"""Random bytes in a generated token, as many as in an ssid."""

SCANNED_AT_ONCE: Final = 500
"""How many sessions ``erase_user`` reads in one round trip."""


class UserInfo(NamedTuple):
    """A user as ``list_users`` returns it. ``zone``: an IANA name; ``deny``: permissions that the user is denied."""

    user_id: str
    zone: str
    deny: tuple[str, ...]


class Accounts:
    """Adds, lists, changes and removes users, and opens and closes sessions.

    ``sessions_max``: how many open sessions a user has at most. Every method that uses Redis raises redis.RedisError if
    Redis fails. Nothing is cached. A worker that can reach Redis notices a change within about ``sessions.FRESH_S``.
    """

    def __init__(self, redis: Redis, sessions_max: int) -> None:
        self._redis = redis
        self._sessions_max = sessions_max

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Accounts with a Redis client of their own. ``close`` them at the end."""
        return cls(connect(settings.redis, settings.redis_ca), settings.sessions_per_user)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    # ------------------------------------------------------------------------------------ users

    async def add_user(self, user_id: str, zone: str, token: str | None = None, deny: tuple[str, ...] = ()) -> str:
        """Add a user and return its token: ``token``, or a random one if that is None.

        Raises Stop if there is such a user already, or if an argument is wrong.
        """
        _check_text("user id", user_id)
        if user_id in (".", ".."):
            raise Stop("the user id must not be . or .., which have a meaning of their own in paths")
        _check_permissions(deny)
        token = _secret("t", TOKEN_BYTES) if token is None else token
        born = secrets.token_hex(8)
        fields = {"born": born, "zone": str(_zone(zone)), "deny": " ".join(deny), **token_fields(token)}
        if not await self._write_user(user_id, fields, if_exists=False):
            raise Stop(f"user {user_id} is there already; `ecounters user token {user_id}` makes a new token")
        return token

    async def new_token(self, user_id: str, token: str | None = None) -> str:
        """Replace a user's token and return the new one: ``token``, or a random one if that is None.

        The user's sessions stay open. Raises Stop if there is no such user, or if the token is too short or too long.
        """
        token = _secret("t", TOKEN_BYTES) if token is None else token
        if not await self._write_user(user_id, token_fields(token), if_exists=True):
            raise _no_user(user_id)
        return token

    async def set_zone(self, user_id: str, zone: str) -> None:
        """Give a user another time zone, an IANA name. What is a day already stays one.

        Token and sessions stay valid. Raises Stop if there is no such user or no such zone.
        """
        if not await self._write_user(user_id, {"zone": str(_zone(zone))}, if_exists=True):
            raise _no_user(user_id)

    async def _write_user(self, user_id: str, fields: Mapping[str, str], *, if_exists: bool) -> bool:
        """Write fields of a user in one transaction. Returns whether the fields were written.

        ``if_exists``: write only if the user exists (True), or only if it does not (False).
        """
        key = user_key(user_id)
        while True:
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(key)
                if bool(await pipe.exists(key)) is not if_exists:
                    return False
                pipe.multi()
                pipe.hset(key, mapping=cast(Any, fields))
                pipe.sadd(USERS_KEY, encode(user_id))
                try:
                    await pipe.execute()
                except WatchError:  # another client changed the user since WATCH: check again
                    continue
                return True

    async def list_users(self) -> list[UserInfo]:
        """All users, sorted by id. A user that is removed while the list is read is left out."""
        ids = await cast(Awaitable[set[bytes]], self._redis.smembers(USERS_KEY))
        users = []
        for user_id in sorted(map(decode, ids)):
            user = await read_hash(self._redis, user_key(user_id))
            if user:
                users.append(UserInfo(user_id, user["zone"], tuple(user["deny"].split())))
        return users

    async def remove_user(self, user_id: str) -> None:
        """Remove a user, its sessions and its known networks. Raises Stop if there is no such user."""
        keys = user_key(user_id), USERS_KEY, sessions_key(user_id), networks_key(user_id)
        removed, _ = await self._run(REMOVE_USER, keys, encode(user_id))
        if not removed:
            raise _no_user(user_id)

    async def erase_user(self, user_id: str) -> tuple[bool, int]:
        """Delete all that Redis has of a user: (whether there was an account, how many sessions were ended).

        Reads the keys of all sessions: those of versions before 0.3 are in no list. The account goes first, so no
        session can be opened meanwhile. It is no error if there is no such user.
        """
        keys = user_key(user_id), USERS_KEY, sessions_key(user_id), networks_key(user_id)
        removed, ended = await self._run(REMOVE_USER, keys, encode(user_id))
        batch: list[bytes] = []
        async for key in self._redis.scan_iter(SESSION_PREFIX + b"*", count=SCANNED_AT_ONCE):
            batch.append(key)
            if len(batch) == SCANNED_AT_ONCE:
                ended += await self._delete_sessions(batch, user_id)
                batch = []
        return bool(removed), ended + await self._delete_sessions(batch, user_id)

    async def _delete_sessions(self, keys: Sequence[bytes], user_id: str) -> int:
        """Delete those of the sessions that are the user's. Returns how many were."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(key, "user")
            users = await pipe.execute()
        own = [key for key, user in zip(keys, users, strict=True) if user == encode(user_id)]
        return int(await self._redis.delete(*own)) if own else 0

    # ------------------------------------------------------------------------------------ sessions

    async def open_session(
        self, user_id: str, ttl_s: int, agent: str = "", *, logged_in: bool = True, bounded: bool = True
    ) -> str:
        """Open a session of a user for ``ttl_s`` seconds and return its ssid.

        If the user then has more than ``sessions_max`` open sessions, those that were opened first are ended.

        ``agent``: the name of the agent whose session it is; "" for a session of the user's own. ``logged_in``: False
        only for an agent, whose requests are then refused with 1043. ``bounded``: False for a session that does not
        count among those of the user, and so ends none of them. Raises Stop if there is no such user, or if an argument
        is wrong.
        """
        if agent:
            _check_text("agent's name", agent)
        elif not logged_in:
            raise Stop("only an agent can be not logged in: name one with --agent")
        if ttl_s < 1:
            raise Stop("a session must last a second at least")
        ssid = _secret("s", SSID_BYTES)
        keys = user_key(user_id), sessions_key(user_id), session_key(ssid)
        bound = self._sessions_max if bounded else 0
        opened = await self._run(
            OPEN_SESSION, keys, encode(user_id), encode(agent), "1" if logged_in else "0", ttl_s, bound
        )
        if not opened:
            raise _no_user(user_id)
        return ssid

    async def close_session(self, ssid: str) -> None:
        """End a session. Raises Stop if there is no such session."""
        if not await self._run(CLOSE_SESSION, (session_key(ssid),), SESSIONS_PREFIX):
            raise Stop("there is no such session: it has ended, or the ssid is mistyped")

    async def _run(self, script: str, keys: Sequence[bytes | str], *arguments: bytes | str | int) -> Any:
        """Run a script of ``scripts`` and return its result."""
        return await self._redis.eval(script, len(keys), *keys, *arguments)


def _secret(letter: str, count: int) -> str:
    """``letter`` and ``count`` random bytes as text. Without the letter, a text that begins with "-" would be taken for
    an option of a command.
    """
    return letter + secrets.token_urlsafe(count)


def _no_user(user_id: str) -> Stop:
    return Stop(f"there is no user {user_id}; `ecounters user list` shows all")


def _zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises Stop if there is none."""
    try:
        return zone_named(name)
    except ValueError as why:
        raise Stop(f"zone {name!r} is wrong: it {why}") from None


def _check_text(what: str, text: str) -> None:
    """Raise Stop unless ``text`` can be the user id of a new user or an agent's name."""
    if not 1 <= len(text) <= TEXT_MAX or not text.isprintable():
        raise Stop(f"the {what} must have 1 to {TEXT_MAX} characters, all of them printable")
    if text != text.strip():
        raise Stop(f"the {what} must not begin or end with white space")


def _check_permissions(deny: tuple[str, ...]) -> None:
    """Raise Stop unless every name is a permission."""
    for name in deny:
        if name not in PERMISSIONS:
            raise Stop(f"{name!r} is nothing that can be denied; {', '.join(PERMISSIONS)} can")
