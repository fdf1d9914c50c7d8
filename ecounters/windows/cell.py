"""Cell: the counts of one span of time and one combination of dimensions. Data alone: ``spans`` has the behaviour."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

Dims = tuple[str, str, str, int | None]
"""The dimensions of a call: (type, campaign or "", DID or "", status of the end or None while it lives)."""

TYPE: Final = 0
CAMPAIGN: Final = 1
DID: Final = 2
STATUS: Final = 3
"""The indexes of ``Dims``, and of ``Sum.calls``."""

UnitSlots = tuple[str, ...]
"""The slots to which a call adds 1. Calls with equal unit slots usually share one tuple, see ``contributions``."""
Amounts = tuple[Any, ...]
"""(slot, amount, slot, amount, ...): what a call adds to other slots. An amount is a count or a time in ms."""


class Cell(Struct, gc=False, eq=False):
    """The counts of one span and one combination of dimensions.

    ===========  ==========================================================================  ===========  =====
    field        meaning                                                                     written by   saved
    ===========  ==========================================================================  ===========  =====
    begin, end   the span [begin, end), ms since the Unix epoch                              --           key
    dims         the dimensions                                                              --           key
    counts       slot -> amount; without zeros                                               Spans        yes
    dirty        the counts have changed since ``Spans.take_changes``                        Spans        no
    saved        the changelog has the cell                                                  Spans        no
    in_sum       the span's ``cached_sum`` has the cell's counts as they are                 Span         no
    expired      out of retention: no reply reads the cell, and its changes are not saved    Spans        no
    rolled_into  the day's cell that has the counts now; None if the cell is not rolled up   Spans        no
    ===========  ==========================================================================  ===========  =====

    A cell can outlive its span: ``Call.cell`` refers to it until the call is counted anew.
    """

    begin: int
    end: int
    dims: Dims
    counts: dict[str, int]
    dirty: bool = False
    saved: bool = False
    in_sum: bool = False
    expired: bool = False
    rolled_into: Cell | None = None
