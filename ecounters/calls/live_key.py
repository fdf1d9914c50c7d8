"""LiveKey: by what live calls are counted. Not compiled: msgspec makes its hash and its comparison."""

from __future__ import annotations

from msgspec import Struct


class LiveKey(Struct, frozen=True, cache_hash=True, gc=False):
    """By what live calls are counted; "" for what a call does not have. No tuple: see ``large_dict``."""

    type: str
    campaign: str
    did: str
    ivr: str
