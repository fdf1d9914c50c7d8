"""Sum: the counts of several cells, added up."""

from __future__ import annotations

from ecounters.windows.cell import Cell, Dims


class Sum:
    """The sum of cells.

    counts  slot -> amount
    calls   for each dimension, in the order of ``Dims``: its value -> number of calls (the slot TC)

    A slot or value whose cells were all taken back stays with 0, because to remove it would cost time. Readers must
    skip zeros.
    """

    __slots__ = ("calls", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.calls: tuple[dict[str | int | None, int], ...] = ({}, {}, {}, {})

    def add(self, dims: Dims, counts: dict[str, int], sign: int = 1) -> None:
        """Add (sign 1) or take back (sign -1) the counts of a cell with those dimensions."""
        self.add_slots(counts, sign)
        calls = sign * counts.get("TC", 0)
        if calls:
            (by_type, by_campaign, by_did, by_status), (call_type, campaign, did, status) = self.calls, dims
            by_type[call_type] = by_type.get(call_type, 0) + calls
            by_campaign[campaign] = by_campaign.get(campaign, 0) + calls
            by_did[did] = by_did.get(did, 0) + calls
            by_status[status] = by_status.get(status, 0) + calls

    def add_cell(self, cell: Cell) -> None:
        """Add all counts of a cell, whether it is whole or split."""
        self.add(cell.dims, cell.counts)
        if cell.inputs is not None:
            self.add_slots(cell.inputs.counts)

    def add_slots(self, counts: dict[str, int], sign: int = 1) -> None:
        """Add (sign 1) or take back (sign -1) amounts of slots other than TC, such as the input slots of a cell."""
        mine = self.counts
        for slot, amount in counts.items():
            mine[slot] = mine.get(slot, 0) + sign * amount

    def join(self, other: Sum) -> None:
        """Add another sum to this one."""
        self.add_slots(other.counts)
        for mine, theirs in zip(self.calls, other.calls, strict=True):
            for value, calls in theirs.items():
                mine[value] = mine.get(value, 0) + calls
