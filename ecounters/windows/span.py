"""Span: a window or a day of one account, and its cells. ``spans`` has all spans of an account."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from mypy_extensions import mypyc_attr

from ecounters.large_dict import LargeDict
from ecounters.native import COMPILED, as_struct
from ecounters.windows.cell import Cell
from ecounters.windows.dims import Dims
from ecounters.windows.sums import Sum

FEW: int = 20
"""A span with at most this many cells adds them up for each reply. A span with more keeps its sum in ``cached_sum``."""


@mypyc_attr(acyclic=True)
class Span:
    """[begin, end), ms since the Unix epoch, and its cells.

    ==========  ================================================================================  ===========  =====
    field       meaning                                                                           written by   saved
    ==========  ================================================================================  ===========  =====
    begin, end  the span                                                                          --           key
    cells       dimensions -> cell                                                                Spans, Span  yes
    cached_sum  the sum of all cells but those in ``unsummed``, without the ``inputs`` of cells;  Span         no
                None until ``add_to`` first meets more than FEW cells
    unsummed    the cells that are new or have changed since ``add_to`` added them to cached_sum  Span         no
    split       the split cells among those in cached_sum                                         Span         no
    ==========  ================================================================================  ===========  =====

    Invariant: ``cell.in_sum`` is True exactly while ``cached_sum`` holds the cell's ``counts`` as they are. So a cell
    must be retracted before its counts change and before it is split.
    """

    begin: int
    end: int
    cells: LargeDict[Dims, Cell] = LargeDict()
    cached_sum: Sum | None = None
    unsummed: LargeDict[Cell, None] = LargeDict()
    split: dict[Cell, None] = {}

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end

    def cell(self, dims: Dims) -> Cell:
        """The cell of these dimensions. If there is none, a new, empty one is added."""
        cell = self.cells.first.get(dims) or self.cells.get(dims)
        if cell is None:
            cell = self.cells[dims] = Cell(self.begin, self.end, dims, {})
            if self.cached_sum is not None:
                self.unsummed[cell] = None
        return cell

    def add_to(self, total: Sum) -> None:
        """Add the counts of all cells to ``total``. For more than FEW cells, it makes and uses ``cached_sum``."""
        if self.cached_sum is None and len(self.cells) <= FEW:
            for cell in self.cells.values():
                total.add_cell(cell)
            return
        for _ in self.summing(len(self.cells)):
            pass
        if self.cached_sum is not None:
            total.join(self.cached_sum)
        for cell in self.split:
            if cell.inputs is not None:
                total.add_slots(cell.inputs.counts)

    def summing(self, step: int) -> Iterator[None]:
        """Make ``cached_sum`` or bring it up to date, with a yield after each ``step`` cells.

        ``add_to`` may be called between two steps.
        """
        if self.cached_sum is None:
            unsummed: LargeDict[Cell, None] = LargeDict()
            cells = self.cells.values()
            while some := list(islice(cells, step)):
                for cell in some:
                    unsummed[cell] = None
                yield
            if self.cached_sum is None:  # else ``add_to`` has made it between two steps
                self.cached_sum, self.unsummed = Sum(), unsummed
        while self.unsummed:
            for _ in range(min(step, len(self.unsummed))):
                cell, _ = self.unsummed.popitem()
                self.cached_sum.add(cell.dims, cell.counts)
                cell.in_sum = True
                if cell.inputs is not None:
                    self.split[cell] = None
            yield

    def retract(self, cell: Cell) -> None:
        """Subtract a cell with ``in_sum`` from ``cached_sum``, because its counts are about to change."""
        if self.cached_sum is not None:
            self.cached_sum.add(cell.dims, cell.counts, -1)
            self.unsummed[cell] = None
        cell.in_sum = False


if not COMPILED:
    Span = as_struct(Span)
