"""From which networks each user has logged in: a user who comes from one of them cannot be locked out by strangers.

Redis keeps them, so that they survive a restart and are the same for all workers. An address is personal data: only a
keyed hash of it is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from streams.access.look_ups import Crowded, LookUps, Unreachable
from streams.access.scripts import NOTE_NETWORK
from streams.access.sessions import Account
from streams.access.store import encode, networks_key, user_key

KNOWN_S: Final = 90 * 86_400
"""A network is forgotten 90 days after the user's last log-in from it."""
KNOWN_MAX: Final = 100
"""How many networks of a user are kept. Beyond this, those with the oldest log-in are forgotten."""
NOTE_AGAIN_S: Final = 3_600.0
"""A worker writes to Redis once in this time, and not more often, that a user came from a network."""
NOTED_MAX: Final = 10_000
"""For how many networks of users a worker remembers that it has written them, in some 200 bytes each."""

_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+")
"""An address as some proxies write it: [v6], [v6]:port or v4:port. Each connection has another port."""


class KnownNetworks:
    """Notes from which networks users log in, and tells which are known.

    ``secret``: a part of the key of the hashes; ECOUNTERS_SECRET, or "". Without it, who reads Redis can find out an
    address by trying all of them. With another secret all networks are unknown. ``clock``: wall clock in s.
    """

    def __init__(self, look_ups: LookUps, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._look_ups = look_ups
        self._secret = secret.encode()
        self._clock = clock
        self._noted: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        """(user id, born, network) -> when it was written to Redis."""

    async def note(self, account: Account, network: str) -> None:
        """Note that a user has logged in from a network. If Redis cannot be used, a later call notes it."""
        now, noted = self._clock(), (account.user_id, account.born, network)
        if now < self._noted.get(noted, -math.inf) + NOTE_AGAIN_S:
            return
        tag = self._tag(*noted)
        keys = user_key(account.user_id), networks_key(account.user_id)
        arguments = account.born, tag, int(now), KNOWN_S, KNOWN_MAX
        try:
            await self._look_ups.ask(("EVAL", NOTE_NETWORK, len(keys), *keys, *arguments))
        except (Unreachable, Crowded):
            return
        self._noted[noted] = now
        self._noted.move_to_end(noted)
        if len(self._noted) > NOTED_MAX:
            self._noted.popitem(last=False)

    async def has(self, user_id: str, born: str, network: str) -> bool:
        """Whether a user has logged in from a network within KNOWN_S.

        ``born``: as in ``store``, "" if there is no such user: then one question is put to Redis too, so that the time
        does not reveal which user ids exist. Raises Unreachable and Crowded.
        """
        tag = self._tag(user_id, born, network)
        [at] = await self._look_ups.ask(("ZSCORE", networks_key(user_id), tag))
        return at is not None and self._clock() < float(at) + KNOWN_S

    def _tag(self, user_id: str, born: str, network: str) -> bytes:
        """The keyed hash of a user's network. The same network of another user has another hash."""
        text = repr((user_id, network))
        return hmac.digest(self._secret + encode(born), encode(text), hashlib.sha256)


@lru_cache(maxsize=1_024)
def network_of(address: str) -> str:
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
