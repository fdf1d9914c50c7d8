"""Dims: the dimensions of a call. Not compiled: msgspec reads and writes it, and makes its hash and comparison."""

from __future__ import annotations

from msgspec import Struct


class Dims(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, cache_hash=True, gc=False):
    """The dimensions of a call. ``campaign``, ``did``: "" for none. ``status``: of the end; None while the call lives.

    Saved as an array, so the order of the fields is part of the format. No tuple: see ``large_dict``.
    """

    type: str
    campaign: str
    did: str
    status: int | None
