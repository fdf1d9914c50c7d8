"""Cell: the counts of one span of time and one combination of dimensions. Data alone; ``spans`` has the behaviour."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

Dims = tuple[str, str, str, int | None]
"""(callType, campaign or "", DID or "", status of the end or None while live)."""

TYPE: Final = 0
CAMPAIGN: Final = 1
DID: Final = 2
STATUS: Final = 3
"""Where each dimension stands in ``Dims``."""

UnitSlots = tuple[str, ...]
"""The slots that a call adds 1 to. Equal ones are one object: there are few kinds of calls, and memory counts."""
Amounts = tuple[Any, ...]
"""(slot, amount, slot, amount, ...): what it adds to the others."""


class Cell(Struct, gc=False, eq=False):
    """The counts of one span and one combination of dimensions: slot -> amount, without zeros."""

    begin: int
    end: int
    dims: Dims
    counts: dict[str, int]
    dirty: bool = False
    saved: bool = False
    in_sum: bool = False  # its counts are in its span's sum as they are
    expired: bool = False  # out of retention: what still changes there is counted no more
    rolled_into: Cell | None = None  # the day's cell that took this one in
