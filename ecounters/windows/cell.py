"""Cell: the counts of one span of time and one combination of dimensions. Data alone: ``spans`` has the behaviour.

A cell is whole or split. An input slot, such as "DTMF/12", has a "/" in its name; switches decide how many there are.

    whole    counts = all slots                        the changelog has one entry for the cell
    split    counts = the slots without "/"            one entry for these, and one for each input slot
             inputs.counts = the input slots

A cell with more than INPUTS_MAX input slots is split by the next flush. So no entry grows without limit, and a key that
a caller presses writes the entries of a few slots and not all of them. A split cell stays split.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mypy_extensions import mypyc_attr

from ecounters.large_dict import LargeDict
from ecounters.native import COMPILED, as_struct
from ecounters.windows.dims import Dims

TYPE: Final = 0
CAMPAIGN: Final = 1
DID: Final = 2
STATUS: Final = 3
"""The indexes of ``Sum.calls``."""
DIMENSIONS: Final = 4
"""How many there are."""

Amounts = tuple[Any, ...]
"""(slot, amount, slot, amount, ...): what a call adds to other slots. An amount is a count or a time in ms."""


INPUTS_MAX: int = 64
"""How many input slots a cell that is saved as one entry has at most: this keeps the entry below some 30 KB."""


@mypyc_attr(acyclic=True)
class Inputs:
    """The input slots of a split cell.

    ``counts``: slot -> amount; without zeros. ``saved``: of the slots that have changed since ``Spans.take_changes``,
    slot -> the amount in the changelog, 0 for a slot without an entry; None: no slot has an entry yet.
    """

    counts: LargeDict[str, int]
    saved: LargeDict[str, int] | None = None

    def __init__(self, counts: LargeDict[str, int], saved: LargeDict[str, int] | None = None) -> None:
        self.counts = counts
        self.saved = saved

    def add(self, slot: str, amount: int) -> None:
        """Add to a slot; remove it if it becomes 0."""
        old = self.counts.get(slot, 0)
        if self.saved is not None:
            self.saved.setdefault(slot, old)
        if old + amount:
            self.counts[slot] = old + amount
        else:
            self.counts.discard(slot)

    def saved_slots(self) -> Iterator[str]:
        """Yield the slots that have an entry in the changelog, if the cell has one."""
        counts, saved = self.counts, self.saved
        if saved is None:
            return
        for slot in counts:
            if saved.get(slot, 1):
                yield slot
        for slot, amount in saved.items():
            if amount and slot not in counts:
                yield slot

    def take_changes(self) -> Iterator[tuple[str, bool]]:
        """Yield (slot, whether it exists) of those whose amount is not the one in the changelog. Empties ``saved``."""
        saved = self.saved
        if saved is None:
            for slot in self.counts:
                yield slot, True
            self.saved = LargeDict()
            return
        while saved:
            slot, saved_amount = saved.popitem()
            amount = self.counts.get(slot, 0)
            if amount != saved_amount:
                yield slot, amount != 0


if not COMPILED:
    Inputs = as_struct(Inputs)


@mypyc_attr(acyclic=True)
class Cell:
    """The counts of one span and one combination of dimensions.

    ===========  ==========================================================================  ===========  =====
    field        meaning                                                                     written by   saved
    ===========  ==========================================================================  ===========  =====
    begin, end   the span [begin, end), ms since the Unix epoch                              --           key
    dims         the dimensions                                                              --           key
    counts       slot -> amount; without zeros. A split cell has its input slots in inputs   Spans        yes
    inputs       the input slots of a split cell; None while the cell is whole               Spans        yes
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
    inputs: Inputs | None = None

    def __init__(self, begin: int, end: int, dims: Dims, counts: dict[str, int]) -> None:
        self.begin = begin
        self.end = end
        self.dims = dims
        self.counts = counts

    @property
    def empty(self) -> bool:
        """Whether the cell has no counts."""
        return not self.counts and (self.inputs is None or not self.inputs.counts)

    def rename(self, slot: str, new_slot: str) -> None:
        """Give the amount of an input slot to another input slot. No sum may hold the cell's counts yet."""
        counts: dict[str, int] | LargeDict[str, int] = self.counts
        if self.inputs is not None:
            counts = self.inputs.counts
            if self.inputs.saved is not None:
                for changed in (slot, new_slot):
                    self.inputs.saved.setdefault(changed, counts.get(changed, 0))
        counts[new_slot] = counts.get(new_slot, 0) + counts.pop(slot)


if not COMPILED:
    Cell = as_struct(Cell)


def add_to_slot(counts: dict[str, int], slot: str, amount: int) -> None:
    """Add to a slot; remove it if it becomes 0."""
    total = counts.get(slot, 0) + amount
    if total:
        counts[slot] = total
    else:
        counts.pop(slot, None)


def replace_amounts(cell: Cell, old: Amounts, new: Amounts) -> None:
    """Take back what a call has added to a cell, and add the new amounts.

    What both begin with stays: most often a call has one input more.
    """
    same, size = 0, min(len(old), len(new))
    while same < size and old[same] == new[same] and old[same + 1] == new[same + 1]:
        same += 2
    _add_amounts(cell, old, same, -1)
    _add_amounts(cell, new, same, 1)


def _add_amounts(cell: Cell, amounts: Amounts, begin: int, sign: int) -> None:
    """Add the amounts from ``begin`` on (sign 1), or take them back (sign -1). The input slots of a split cell are in
    its ``inputs``."""
    inputs = cell.inputs
    for index in range(begin, len(amounts), 2):
        slot: str = amounts[index]
        amount: int = amounts[index + 1]
        if inputs is None or "/" not in slot:
            add_to_slot(cell.counts, slot, sign * amount)
        else:
            inputs.add(slot, sign * amount)


def has_many_inputs(cell: Cell) -> bool:
    """Whether a whole cell has more than INPUTS_MAX input slots. The time is bounded: few slots have no "/"."""
    if len(cell.counts) <= INPUTS_MAX:
        return False
    inputs = 0
    for slot in cell.counts:
        inputs += "/" in slot
        if inputs > INPUTS_MAX:
            return True
    return False


def split(cell: Cell) -> None:
    """Split a whole cell: move its input slots from ``counts`` to ``inputs``. None of them has an entry yet."""
    counts = cell.counts
    inputs = LargeDict[str, int]()
    for slot, amount in counts.items():
        if "/" in slot:
            inputs[slot] = amount
    cell.counts = {slot: amount for slot, amount in counts.items() if "/" not in slot}
    cell.inputs = Inputs(inputs)
