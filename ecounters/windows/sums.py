"""Sum: the counts of several cells, added up."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct, field

from ecounters.large_dict import LargeDict
from ecounters.windows.cell import CAMPAIGN, DID, DIMENSIONS, STATUS, TYPE, Cell
from ecounters.windows.dims import Dims

K = TypeVar("K")


class Sum(Struct, gc=False, eq=False):
    """The sum of cells.

    counts  slot -> amount
    calls   for each dimension, in the order of ``Dims``: its value -> number of calls (the slot TC)

    A slot or value whose cells were all taken back stays with 0, because to remove it would cost time. Readers must
    skip zeros.
    """

    counts: LargeDict[str, int] = field(default_factory=LargeDict)
    calls: tuple[LargeDict[str | int | None, int], ...] = field(
        default_factory=lambda: tuple(LargeDict() for _ in range(DIMENSIONS))
    )

    def add(self, dims: Dims, counts: dict[str, int], sign: int = 1) -> None:
        """Add (sign 1) or take back (sign -1) the counts of a cell with those dimensions."""
        self.add_slots(counts, sign)
        calls = sign * counts.get("TC", 0)
        if calls:
            by_value = self.calls
            add_to(by_value[TYPE], dims.type, calls)
            add_to(by_value[CAMPAIGN], dims.campaign, calls)
            add_to(by_value[DID], dims.did, calls)
            add_to(by_value[STATUS], dims.status, calls)

    def add_cell(self, cell: Cell) -> None:
        """Add all counts of a cell, whether it is whole or split."""
        self.add(cell.dims, cell.counts)
        if cell.inputs is not None:
            self.add_slots(cell.inputs.counts)

    def add_slots(self, counts: dict[str, int] | LargeDict[str, int], sign: int = 1) -> None:
        """Add (sign 1) or take back (sign -1) amounts of slots other than TC, such as the input slots of a cell."""
        mine = self.counts.room(len(counts))
        if mine is None:  # seldom; else a plain dict, as a reply adds up thousands of slots
            for slot, amount in counts.items():
                add_to(self.counts, slot, sign * amount)
            return
        for slot, amount in counts.items():
            mine[slot] = mine.get(slot, 0) + sign * amount

    def join(self, other: Sum) -> None:
        """Add another sum to this one."""
        self.add_slots(other.counts)
        for mine, theirs in zip(self.calls, other.calls, strict=True):
            for value, calls in theirs.items():
                add_to(mine, value, calls)


def add_to(counts: LargeDict[K, int], key: K, amount: int) -> None:
    """Add an amount to that of a key."""
    first = counts.first
    if key in first:
        first[key] += amount
    else:
        counts[key] = counts.get(key, 0) + amount
