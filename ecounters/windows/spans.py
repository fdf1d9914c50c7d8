"""Spans: where the counts of one account are kept, by time and dimensions.

A span is a window of 15 minutes or, after the roll-up, a day of the account's time zone. It has a cell for each
combination of dimensions that occurs. A call's contribution is in a cell of the window in which the call started, and
moves with the cell's counts into the day:

    windows   | a | b | c |   roll-up of a day:   day  | a + b + c |
                ^ call.cell                                  ^
                  `------------ a.rolled_into --------------'
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import chain
from zoneinfo import ZoneInfo

from ecounters.windows.calendar import WINDOW_MS, day_of
from ecounters.windows.cell import Amounts, Cell, Dims, UnitSlots
from ecounters.windows.span import Span


class Spans:
    """All spans of one account.

    windows  begin -> span of 15 minutes
    days     the rolled-up days, sorted by begin; they never overlap
    dirty    the cells that have changed since ``take_changes``
    gone     the saved cells that have been rolled up or forgotten since ``take_changes``

    ``User`` adds and takes back contributions, ``PartitionState`` rolls up, ``Timeouts`` forgets. ``totals_of`` and
    ``Series`` read.
    """

    __slots__ = ("days", "dirty", "gone", "windows")

    def __init__(self) -> None:
        self.windows: dict[int, Span] = {}
        self.days: list[Span] = []
        self.dirty: list[Cell] = []
        self.gone: list[Cell] = []

    def cell(self, window: int, dims: Dims) -> Cell:
        """The cell for calls that started in the window that begins at ``window``.

        It is a cell of the window or, if a rolled-up day covers the window, of that day. Adds the window's span and the
        cell if they are missing.
        """
        span = self.windows.get(window)
        if span is None:
            span = self._day_with(window)
            if span is None:
                span = self.windows[window] = Span(window, window + WINDOW_MS, {})
        return span.cell(dims)

    def has(self, window: int) -> bool:
        """Whether there is a span for the window that begins at ``window``: its own, or a rolled-up day's."""
        return window in self.windows or self._day_with(window) is not None

    def add(self, cell: Cell, unit_slots: UnitSlots, amounts: Amounts, sign: int) -> None:
        """Add (sign 1) or take back (sign -1) a call's contribution.

        If the cell has been rolled up, the day's cell is changed instead. Slots that become 0 are removed from the
        counts. The changed cell is retracted from its span's ``cached_sum``, and becomes dirty.
        """
        while cell.rolled_into is not None:
            cell = cell.rolled_into
        if cell.in_sum and (span := self._span_of(cell)) is not None:
            span.retract(cell)
        counts = cell.counts
        for slot in unit_slots:
            count = counts.get(slot, 0) + sign
            if count:
                counts[slot] = count
            else:
                counts.pop(slot, None)
        for index in range(0, len(amounts), 2):
            slot = amounts[index]
            amount = counts.get(slot, 0) + sign * amounts[index + 1]
            if amount:
                counts[slot] = amount
            else:
                counts.pop(slot, None)
        if not cell.dirty:
            cell.dirty = True
            self.dirty.append(cell)

    def take_changes(self) -> list[tuple[Cell, bool]]:
        """All changes since the last ``take_changes``, as (cell, True to save it or False to delete its entry).

        The cells of ``gone`` come first: a new cell can have the key of one of them. An empty cell is not saved; its
        entry is deleted if it has one. Clears ``dirty`` and ``gone``, and sets ``saved`` of the cells in ``dirty``.
        """
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
        """Add one saved cell, or remove it again if ``counts`` is None. Call this before anything else uses the spans.

        No sum is updated, and nothing becomes dirty.
        """
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

    def cells(self) -> Iterator[Cell]:
        """All cells, in no particular order."""
        for span in self.all_spans():
            yield from span.cells.values()

    def all_spans(self) -> Iterator[Span]:
        """All spans: the windows, then the days."""
        return chain(self.windows.values(), self.days)

    def mark_dirty(self, cell: Cell) -> None:
        """Note that a cell's counts have changed without ``add``: the next ``take_changes`` has it."""
        if not cell.dirty:
            cell.dirty = True
            self.dirty.append(cell)

    def within(self, begin: int, end: int) -> Iterator[Span]:
        """Yield the spans that share time with [begin, end): the days, oldest first, then the windows in any order."""
        yield from self.days_within(begin, end)
        if (end - begin) // WINDOW_MS < len(self.windows):
            for window in range(begin - begin % WINDOW_MS, end, WINDOW_MS):
                span = self.windows.get(window)
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
        """Roll up the windows of each day of the zone that ended by ``keep_from`` (ms) into a span for the day.

        The counts are added to the day's cells, which become dirty. The windows are removed: their saved cells are put
        into ``gone``, and ``rolled_into`` of each cell refers to the day's cell. A day is shorter than the zone's where
        it would overlap an older one.
        """
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
                self._note_gone(cell)

    def forget(self, before: int) -> None:
        """Remove the spans that ended by ``before`` (ms). Their cells become expired; saved cells go into ``gone``."""
        old = [span for span in self.windows.values() if span.end <= before]
        for span in old:
            del self.windows[span.begin]
        while self.days and self.days[0].end <= before:
            old.append(self.days.pop(0))
        for span in old:
            for cell in span.cells.values():
                cell.expired = True
                self._note_gone(cell)

    def _day_with(self, window: int) -> Span | None:
        """The rolled-up day that holds the time ``window``; None if there is none."""
        index = bisect_right(self.days, window, key=_begin) - 1
        return self.days[index] if index >= 0 and window < self.days[index].end else None

    def _clear_of_others(self, begin: int, end: int, window: int) -> tuple[int, int]:
        """[begin, end) of a new day that holds ``window`` (w), shortened where it would overlap the days that exist.

        Days can overlap because the account's zone may have been another one when the older days were rolled up:

            days that exist   |--------)          |--------)
            [begin, end)           [------w-----------)
            returned                   [--w-------)
        """
        index = bisect_right(self.days, window, key=_begin)
        if index > 0:
            begin = max(begin, self.days[index - 1].end)
        if index < len(self.days):
            end = min(end, self.days[index].begin)
        return begin, end

    def _span_of(self, cell: Cell) -> Span | None:
        """The span that holds the cell; None if there is none, because the cell has expired or was rolled up."""
        for span in (self.windows.get(cell.begin), self._day_with(cell.begin)):
            if span is not None and span.cells.get(cell.dims) is cell:
                return span
        return None

    def _note_gone(self, cell: Cell) -> None:
        """Add the cell to ``gone`` if the changelog has it: its entry must be deleted."""
        if cell.saved:
            self.gone.append(cell)


def _begin(span: Span) -> int:
    return span.begin


def _end(span: Span) -> int:
    return span.end
