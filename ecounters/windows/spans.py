"""Where counts are kept: a user's spans of time, each with a cell for every combination of dimensions.

A span is a 15-minute window or, after the roll-up, a day of the user's zone. A call's contribution belongs to
the window in which it started; once that window has gone into a day, its cell leads on to the day's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import chain
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from ecounters.windows.calendar import WINDOW_MS, day_of
from ecounters.windows.cell import Amounts, Cell, Dims, UnitSlots
from ecounters.windows.sums import Sum

FEW: Final = 20
"""So many cells are added up anew whenever somebody asks; the sum of more is kept."""


class Span(Struct, gc=False, eq=False):
    """[begin, end) and its cells.

    ``cached_sum``: their sum, once somebody has asked for it, without the ``unsummed``: those that have changed since.
    """

    begin: int
    end: int
    cells: dict[Dims, Cell]
    cached_sum: Sum | None = None
    unsummed: list[Cell] = []

    def cell(self, dims: Dims) -> Cell:
        """The cell of these dimensions, made if it is not there yet."""
        cell = self.cells.get(dims)
        if cell is None:
            cell = self.cells[dims] = Cell(self.begin, self.end, dims, {})
            if self.cached_sum is not None:
                self.unsummed.append(cell)
        return cell

    def add_to(self, total: Sum) -> None:
        """Add all cells."""
        if self.cached_sum is None and len(self.cells) <= FEW:
            for dims, cell in self.cells.items():
                total.add(dims, cell.counts)
            return
        if self.cached_sum is None:
            self.cached_sum, self.unsummed = Sum(), list(self.cells.values())
        for cell in self.unsummed:
            self.cached_sum.add(cell.dims, cell.counts)
            cell.in_sum = True
        self.unsummed = []
        total.join(self.cached_sum)

    def retract(self, cell: Cell) -> None:
        """A cell that is in the sum is about to change."""
        if self.cached_sum is not None:
            self.cached_sum.add(cell.dims, cell.counts, -1)
            self.unsummed.append(cell)
        cell.in_sum = False


class Spans:
    """A user's spans. Changed and vanished cells gather until ``take_changes``."""

    __slots__ = ("days", "dirty", "gone", "windows")

    def __init__(self) -> None:
        self.windows: dict[int, Span] = {}
        self.days: list[Span] = []  # by begin; they never overlap
        self.dirty: list[Cell] = []
        self.gone: list[Cell] = []

    def cell(self, window: int, dims: Dims) -> Cell:
        """The cell that counts calls that started in that window, made if it is not there yet."""
        span = self.windows.get(window)
        if span is None:
            span = self._day_with(window)
            if span is None:
                span = self.windows[window] = Span(window, window + WINDOW_MS, {})
        return span.cell(dims)

    def has(self, window: int) -> bool:
        """Whether anything is kept of that window, as itself or in a day."""
        return window in self.windows or self._day_with(window) is not None

    def add(self, cell: Cell, ones: UnitSlots, sums: Amounts, sign: int) -> None:
        """Add (sign 1) or take back (sign -1) a call's contribution."""
        while cell.rolled_into is not None:
            cell = cell.rolled_into
        if cell.in_sum and (span := self._span_of(cell)) is not None:
            span.retract(cell)
        counts = cell.counts
        for slot in ones:
            now = counts.get(slot, 0) + sign
            if now:
                counts[slot] = now
            else:
                counts.pop(slot, None)
        for at in range(0, len(sums), 2):
            slot = sums[at]
            now = counts.get(slot, 0) + sign * sums[at + 1]
            if now:
                counts[slot] = now
            else:
                counts.pop(slot, None)
        if not cell.dirty:
            cell.dirty = True
            self.dirty.append(cell)

    def take_changes(self) -> list[tuple[Cell, bool]]:
        """(cell, whether it is still there) for all that changed since the last time."""
        changes = [(cell, False) for cell in self.gone]
        for cell in self.dirty:
            cell.dirty = False
            if cell.expired or cell.rolled_into is not None:
                continue
            if cell.counts:
                cell.saved = True
                changes.append((cell, True))
            elif cell.saved:
                cell.saved = False
                changes.append((cell, False))
        self.gone = []
        self.dirty = []
        return changes

    def restore(self, begin: int, end: int, dims: Dims, counts: dict[str, int] | None) -> None:
        """Put one saved cell back as it was (None: it is gone)."""
        if end - begin == WINDOW_MS:
            span = self.windows.get(begin)
        else:
            span = next((day for day in self.days if day.begin == begin and day.end == end), None)
        if counts is None:
            if span is not None:
                span.cells.pop(dims, None)
            return
        if span is None:
            span = Span(begin, end, {})
            if end - begin == WINDOW_MS:
                self.windows[begin] = span
            else:
                insort(self.days, span, key=_begin)
        span.cells[dims] = Cell(begin, end, dims, counts, saved=True)

    def within(self, begin: int, end: int) -> Iterator[Span]:
        """The spans that share time with [begin, end), oldest days first."""
        yield from self.days_within(begin, end)
        if (end - begin) // WINDOW_MS < len(self.windows):
            for at in range(begin - begin % WINDOW_MS, end, WINDOW_MS):
                span = self.windows.get(at)
                if span is not None:
                    yield span
        else:
            for span in self.windows.values():
                if span.begin < end and span.end > begin:
                    yield span

    def days_within(self, begin: int, end: int) -> list[Span]:
        """The days that share time with [begin, end), oldest first."""
        return self.days[bisect_right(self.days, begin, key=_end) : bisect_left(self.days, end, key=_begin)]

    def roll_up(self, zone: ZoneInfo, keep_from: int) -> None:
        """Make days of the zone out of the windows of every day that is over at ``keep_from``."""
        for begin in sorted(self.windows):
            day = self._day_with(begin)
            if day is None:
                day = Span(*self._clear_of_others(*day_of(begin, zone), begin), {})
                if day.end > keep_from:
                    break
                insort(self.days, day, key=_begin)
            window = self.windows.pop(begin)
            for dims, cell in window.cells.items():
                target = day.cell(dims)
                self.add(target, (), tuple(chain.from_iterable(cell.counts.items())), 1)
                cell.rolled_into = target
                self._lose(cell)

    def forget(self, before: int) -> None:
        """Drop the spans that were over at ``before``."""
        old = [s for s in self.windows.values() if s.end <= before]
        for span in old:
            del self.windows[span.begin]
        while self.days and self.days[0].end <= before:
            old.append(self.days.pop(0))
        for span in old:
            for cell in span.cells.values():
                cell.expired = True
                self._lose(cell)

    def _day_with(self, window: int) -> Span | None:
        at = bisect_right(self.days, window, key=_begin) - 1
        return self.days[at] if at >= 0 and window < self.days[at].end else None

    def _clear_of_others(self, begin: int, end: int, window: int) -> tuple[int, int]:
        """A day of the zone without what other days hold already: the user's zone may have been another then."""
        at = bisect_right(self.days, window, key=_begin)
        if at > 0:
            begin = max(begin, self.days[at - 1].end)
        if at < len(self.days):
            end = min(end, self.days[at].begin)
        return begin, end

    def _span_of(self, cell: Cell) -> Span | None:
        """The span that a cell is in; None once it is out of retention."""
        for span in (self.windows.get(cell.begin), self._day_with(cell.begin)):
            if span is not None and span.cells.get(cell.dims) is cell:
                return span
        return None

    def _lose(self, cell: Cell) -> None:
        if cell.saved:
            self.gone.append(cell)


def _begin(span: Span) -> int:
    return span.begin


def _end(span: Span) -> int:
    return span.end
