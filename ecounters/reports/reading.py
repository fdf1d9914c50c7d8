"""Reading a large account in steps: the same totals as ``totals_of`` gives at once.

    user.settle()
    reading = Reading(begin, end)
    yield from reading.read(user, matches, live=True)    # nothing may change the account until this is at its end
    yield from reading.add_up()                          # the account may change again
    reading.totals                                       # all is there

``read`` copies what could change, and ``add_up`` does the work that can wait, so that the account stands still for a
short time only. Both yield after each step of some 0.1 ms: the caller may pause there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from ecounters.calls.live_key import LiveKey
from ecounters.large_dict import LargeDict
from ecounters.partition.user import User
from ecounters.query.conditions import Predicate, Where
from ecounters.reports.totals import Totals, dims_of
from ecounters.windows.cell import Cell
from ecounters.windows.dims import Dims
from ecounters.windows.span import FEW, Span
from ecounters.windows.sums import add_to

SMALL_US: Final = 5_000
"""An account is small if to count it, and to render the maps, takes about so many µs at most."""
CALL_US: Final = 4.0
"""To settle a changed call takes about so many µs."""
CELL_US: Final = 4.5
"""To add up a cell with at most BASE_SLOTS slots, and to render an entry of a map for its DID, takes so many µs."""
KEY_US: Final = 2.0
"""To sort and render one entry of a map takes so many µs."""
BASE_SLOTS: Final = 32
"""A cell with more slots has input slots."""
STEP: Final = 250
"""So many slots, or keys of a sum, are handled in one step."""
CELLS_STEP: Final = 50
"""So many cells are handled in one step."""
T = TypeVar("T")


class Matches:
    """Whether a filter matches dimensions. Remembers that for each: cells of many spans have the same ones."""

    def __init__(self, where: Where) -> None:
        self._predicate: Predicate = where.to_predicate()
        self._known: LargeDict[Dims, bool] = LargeDict()

    def __getitem__(self, dims: Dims) -> bool:
        """Whether the filter matches these dimensions."""
        result = self._known.get(dims)
        if result is None:
            result = self._known[dims] = self._predicate(dims)
        return result

    def look_at(self, many_dims: Iterable[Dims]) -> None:
        """Evaluate the filter for all of these dimensions."""
        for dims in many_dims:
            self[dims]


def is_small(user: User | None, begin: int, end: int) -> bool:
    """Whether a reply for the user over [begin, end) takes SMALL_US at most. To say so takes some µs itself."""
    if user is None:
        return True
    work_us = CALL_US * len(user.touched) + KEY_US * len(user.live)
    for span in user.spans.within(begin, end):
        for part_us in _work_of(span):
            work_us += part_us
            if work_us > SMALL_US:
                return False
    return work_us <= SMALL_US


def _work_of(span: Span) -> Iterator[float]:
    """About how many µs it takes to add up a span and to render the maps of its sum, in parts to be added up.

    The first part is for the number of cells, so that nobody looks at each of very many.
    """
    cached = span.cached_sum
    if cached is None:
        cells: Iterable[Cell] = span.cells.values()
        yield CELL_US * len(span.cells)
    else:
        cells = span.split
        yield KEY_US * (len(cached.counts) + sum(map(len, cached.calls))) + CELL_US * len(span.unsummed)
    for cell in cells:
        if len(cell.counts) > BASE_SLOTS:
            yield KEY_US * len(cell.counts)
        if cell.inputs is not None:
            yield KEY_US * len(cell.inputs.counts)


class Reading:
    """What is read of one user over [begin, end) in ms.

    ``totals`` is complete after all steps of ``add_up``, but for ``live``, so that it cannot be merged.
    """

    __slots__ = ("_copied", "_dims", "_live", "begin", "end", "totals")

    def __init__(self, begin: int, end: int) -> None:
        self.begin, self.end = begin, end
        self.totals = Totals(begin, end)
        # What is copied and not added up yet. No tuples of two: the garbage collector would visit each.
        self._dims: list[Dims] = []
        self._copied: list[dict[str, int]] = []
        self._live: list[dict[LiveKey, int]] = []

    def read(self, user: User | None, matches: Matches | None, *, live: bool) -> Iterator[None]:
        """Copy and add up what could change: the same as ``totals_of`` counts, of a user that is settled."""
        if user is None:
            return
        totals = self.totals
        if live:
            totals.balance = user.balance[2] if user.balance is not None else 0
            totals.call_balance = user.call_balance[2] if user.call_balance is not None else 0
            for items in batches(user.live.items(), STEP):
                matching = items if matches is None else [item for item in items if matches[dims_of(item[0])]]
                self._live.append(dict(matching))
                yield
        for span in list(user.spans.within(totals.begin, totals.end)):
            totals.begin = min(totals.begin, span.begin)
            totals.end = max(totals.end, span.end)
            if matches is None and (span.cached_sum is not None or len(span.cells) > FEW):
                yield from _add_span(span, totals)
            else:
                yield from self._copy_cells(span, matches)

    def _copy_cells(self, span: Span, matches: Matches | None) -> Iterator[None]:
        for cells in batches(span.cells.values(), CELLS_STEP):
            for cell in cells:
                if matches is not None and not matches[cell.dims]:
                    continue
                self._dims.append(cell.dims)
                self._copied.append(cell.counts.copy())
                if cell.inputs is not None:
                    yield from _add_slots(cell.inputs.counts, self.totals)
            yield

    def add_up(self) -> Iterator[None]:
        """Add up what ``read`` has copied."""
        totals = self.totals
        totals.count_live(())
        totals.add_inputs(())
        while self._dims:
            for dims, counts in zip(self._dims[-CELLS_STEP:], self._copied[-CELLS_STEP:], strict=True):
                totals.sum.add(dims, counts)
            del self._dims[-CELLS_STEP:], self._copied[-CELLS_STEP:]
            yield
        while self._live:
            totals.count_live(self._live.pop().items())
            yield
        for items in batches(totals.counts.items(), STEP):
            totals.add_inputs(items)
            yield


def look_at(user: User | None, begin: int, end: int, matches: Matches) -> Iterator[None]:
    """Evaluate a filter for all cells of a range beforehand, so that ``read`` takes less time. The user may change."""
    for span in list(user.spans.within(begin, end)) if user is not None else ():
        for many_dims in batches(list(span.cells), CELLS_STEP):
            matches.look_at(many_dims)
            yield


def _add_span(span: Span, totals: Totals) -> Iterator[None]:
    """Add all cells of a span by its cached sum, which is brought up to date first."""
    yield from span.summing(CELLS_STEP)
    cached = span.cached_sum
    assert cached is not None
    yield from _add_slots(cached.counts, totals)
    for mine, theirs in zip(totals.sum.calls, cached.calls, strict=True):
        for items in batches(theirs.items(), STEP):
            for value, calls in items:
                add_to(mine, value, calls)
            yield
    for cell in span.split:
        if cell.inputs is not None:
            yield from _add_slots(cell.inputs.counts, totals)


def _add_slots(counts: LargeDict[str, int], totals: Totals) -> Iterator[None]:
    for items in batches(counts.items(), STEP):
        for slot, amount in items:
            add_to(totals.counts, slot, amount)
        yield


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of ``size``; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
