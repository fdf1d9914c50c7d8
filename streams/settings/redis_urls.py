"""The URL of Redis behind Sentinel: ``redis+sentinel://[user:password@]host:port,host:port/MASTER[/DATABASE][?…]``.

The hosts are those of the sentinels; they know where the master of the name MASTER is. User and password are those of
the Redis servers. Sentinels that want some themselves get ``?sentinel_user=…&sentinel_password=…``. The scheme
``rediss+sentinel`` is the same with TLS, to the sentinels and to the servers.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT: Final = 26_379
"""The port of a sentinel for which the URL gives none."""
MUST: Final = (
    "must be redis://[user:password@]host:port/database, rediss://…, unix:///path, or "
    "redis+sentinel://[user:password@]host:port,host:port/master/database"
)


class SentinelUrl(NamedTuple):
    """What the URL of a Redis behind Sentinel says. Empty texts: not given."""

    sentinels: list[tuple[str, int]]
    master: str
    database: int
    user: str
    password: str
    has_tls: bool
    sentinel_user: str
    sentinel_password: str


def is_sentinel(text: str) -> bool:
    """Whether a URL is one of a Redis behind Sentinel."""
    return text.partition("://")[0] in SCHEMES


def has_tls(text: str) -> bool:
    """Whether a URL of Redis wants TLS."""
    return text.startswith("rediss")


def sentinel_url(text: str) -> SentinelUrl:
    """Read such a URL. Raises ValueError, whose text says what it must be, and never holds the URL."""
    url = urlsplit(text)
    credentials, _, hosts = url.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = re.fullmatch(r"/([A-Za-z0-9._-]+)(?:/([0-9]{0,5}))?", url.path)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.scheme not in SCHEMES or path is None or query.keys() - {"sentinel_user", "sentinel_password"}:
        raise ValueError(MUST)
    return SentinelUrl(
        [_address(host) for host in hosts.split(",")],
        path[1],
        int(path[2] or 0),
        unquote(user),
        unquote(password),
        has_tls(text),
        query.get("sentinel_user", ""),
        query.get("sentinel_password", ""),
    )


def _address(text: str) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[IPv6]:port`` of a sentinel."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", text)
    if found is None or not 1 <= int(found[3] or SENTINEL_PORT) <= 65_535:
        raise ValueError(MUST)
    return found[1] or found[2], int(found[3] or SENTINEL_PORT)
