"""Spans: where the counts of one account are kept, by time and dimensions.

A span is a window of 15 minutes or, after the roll-up, a day of the account's time zone. It has a cell for each
combination of dimensions that occurs. A call's contribution is in a cell of the window in which the call started, and
moves with the cell's counts into the day:

    windows   | a | b | c |   roll-up of a day:   day  | a + b + c |
                ^ call.cell                                  ^
                  `------------ a.rolled_into --------------'
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterator
from itertools import chain, islice
from zoneinfo import ZoneInfo

from mypy_extensions import mypyc_attr

from ecounters.large_dict import LargeDict
from ecounters.native import COMPILED, as_struct
from ecounters.windows.calendar import WINDOW_MS, day_of
from ecounters.windows.cell import Amounts, Cell, add_to_slot, has_many_inputs, replace_amounts, split
from ecounters.windows.dims import Dims
from ecounters.windows.span import Span
from ecounters.windows.units import slots_of

STEP: int = 20
"""How many cells one step of ``roll_up`` and ``forget`` hands over or forgets: some 0.01 ms of work."""
SLOTS_STEP: int = 200
"""About how many slots one step of ``roll_up`` adds up: some 0.05 ms of work."""
WHOLE_SLOTS_MAX: int = 1_000
"""A cell with more slots is split at once and not only by the next flush: so few slots move at a time."""

Change = tuple[Cell, str, bool]
"""(cell, input slot or "", exists): an entry of the changelog to be written, or to be deleted if ``exists`` is False.

The entry is that of the input slot of a split cell or, for "", the cell's own."""


@mypyc_attr(acyclic=True)
class Spans:
    """All spans of one account.

    windows  begin -> span of 15 minutes
    days     the rolled-up days, sorted by begin; they never overlap
    dirty    the cells that have changed since ``take_changes``
    gone     the saved cells that have been rolled up or forgotten since ``take_changes``

    ``User`` counts calls, ``PartitionState`` rolls up, ``Timeouts`` forgets. ``totals_of`` and
    ``Series`` read.
    """

    windows: dict[int, Span] = {}
    days: tuple[Span, ...] = ()
    dirty: LargeDict[Cell, None] = LargeDict()
    gone: LargeDict[Cell, None] = LargeDict()

    def cell(self, window: int, dims: Dims) -> Cell:
        """The cell for calls that started in the window that begins at ``window``.

        It is a cell of the window or, if a rolled-up day covers the window, of that day. Adds the window's span and the
        cell if they are missing.
        """
        span = self.windows.get(window)
        if span is None:
            span = self._day_with(window)
            if span is None:
                span = self.windows[window] = Span(window, window + WINDOW_MS)
        return span.cell(dims)

    def has(self, window: int) -> bool:
        """Whether there is a span for the window that begins at ``window``: its own, or a rolled-up day's."""
        return window in self.windows or self._day_with(window) is not None

    def change(
        self,
        cell: Cell,
        old_units: int,
        units: int,
        old_amounts: Amounts,
        amounts: Amounts,
        ring_ms: int = 0,
        rings: int = 0,
    ) -> None:
        """Replace what a call adds to a cell: its old units and amounts by new ones.

        To add a call, pass 0 and () as the old ones; to take it back, pass them as the new ones. ``ring_ms`` (ms) and
        ``rings`` are differences, below 0 if they are taken back.

        If the cell has been rolled up, the day's cell is changed instead. Slots that become 0 are removed from the
        counts. The changed cell is retracted from its span's ``cached_sum``, and becomes dirty. A cell that has got
        more than WHOLE_SLOTS_MAX slots is split.
        """
        while cell.rolled_into is not None:
            cell = cell.rolled_into
        if cell.in_sum and (span := self._span_of(cell)) is not None:
            span.retract(cell)
        counts = cell.counts
        kept = old_units & units
        for slot in slots_of(units - kept):
            add_to_slot(counts, slot, 1)
        if kept != old_units:
            for slot in slots_of(old_units - kept):
                add_to_slot(counts, slot, -1)
        if ring_ms:
            add_to_slot(counts, "ringTime", ring_ms)
        if rings:
            add_to_slot(counts, "rings", rings)
        if old_amounts != amounts:
            replace_amounts(cell, old_amounts, amounts)
        if len(counts) > WHOLE_SLOTS_MAX and cell.inputs is None:
            split(cell)
        if not cell.dirty:
            cell.dirty = True
            self.dirty[cell] = None

    def take_changes(self) -> Generator[Change]:
        """Yield all changes since the last ``take_changes``. Run it to its end, and change nothing meanwhile.

        The cells of ``gone`` come first: a new cell can have the key of one of them. An empty cell is not saved; its
        entries are deleted if it has any. Splits cells with many input slots. Empties ``dirty`` and ``gone``, and sets
        ``saved`` of the cells in ``dirty``.
        """
        gone, self.gone = self.gone, LargeDict()
        for cell in gone.draining():  # so that the memory of each is freed at once, and not of all in one step
            yield cell, "", False
            if cell.inputs is not None:
                for slot in cell.inputs.saved_slots():
                    yield cell, slot, False
        dirty, self.dirty = self.dirty, LargeDict()
        for cell in dirty.draining():
            cell.dirty = False
            if cell.expired or cell.rolled_into is not None:
                continue
            if cell.inputs is None and has_many_inputs(cell):
                if cell.in_sum and (span := self._span_of(cell)) is not None:
                    span.retract(cell)
                split(cell)
            if cell.inputs is not None:
                for slot, exists in cell.inputs.take_changes():
                    yield cell, slot, exists
            if not cell.empty:
                cell.saved = True
                yield cell, "", True
            elif cell.saved:
                cell.saved = False
                yield cell, "", False

    def cells(self) -> Iterator[Cell]:
        """All cells, in no particular order."""
        for span in self.all_spans():
            yield from span.cells.values()

    def all_spans(self) -> Iterator[Span]:
        """All spans: the windows, then the days."""
        return chain(self.windows.values(), self.days)

    def take_saved(self) -> Iterator[tuple[Cell, str]]:
        """Yield (cell, input slot or "") of each entry that the changelog has. No cell is noted as saved then."""
        gone, self.gone = self.gone, LargeDict()
        for cell in gone.draining():
            yield from _take_saved(cell)
        for cell in self.cells():
            yield from _take_saved(cell)

    def mark_dirty(self, cell: Cell) -> None:
        """Note that a cell's counts have changed: the next ``take_changes`` has it."""
        if not cell.dirty:
            cell.dirty = True
            self.dirty[cell] = None

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

    def days_within(self, begin: int, end: int) -> tuple[Span, ...]:
        """The days that share time with [begin, end), oldest first."""
        return self.days[bisect_right(self.days, begin, key=_end) : bisect_left(self.days, end, key=_begin)]

    def roll_up(self, zone: ZoneInfo, keep_from: int) -> Generator[None]:
        """Roll up the windows of each day of the zone that ended by ``keep_from`` (ms) into a span for the day.

        The work is done in steps of less than 0.1 ms, with a yield after each. The day's cells are added up apart; then
        the day replaces its windows in one step. So what ``within`` finds is right at each yield. Change nothing
        between two steps. To close the generator leaves the day undone that is being added up, or finishes it if it has
        replaced its windows.

        The day's cells become dirty. The windows' saved cells are put into ``gone``, and ``rolled_into`` of each cell
        refers to the day's cell. A day is shorter than the zone's where it would overlap an older one.
        """
        for begin in sorted(self.windows):
            if begin not in self.windows:
                continue  # it is in the day that was rolled up last
            day = Span(*self._clear_of_others(*day_of(begin, zone), begin))
            if day.end > keep_from:
                break
            windows = [self.windows[at] for at in range(day.begin, day.end, WINDOW_MS) if at in self.windows]
            yield from self._add_up(day, windows)
            self.add_day(day)
            for window in windows:
                del self.windows[window.begin]
            rest = self._hand_over(day, windows)
            try:
                for _ in rest:  # not "yield from": closing would close ``rest`` too
                    yield
            finally:
                for _ in rest:
                    pass

    def _add_up(self, day: Span, windows: list[Span]) -> Iterator[None]:
        """Add the counts of the windows' cells to the cells of a day that nobody sees yet; yield after each step."""
        done = 0
        for window in windows:
            for dims, cell in window.cells.items():
                target = day.cell(dims)
                target.dirty = True  # ``_hand_over`` puts it into ``dirty``
                inputs = cell.inputs.counts.items() if cell.inputs is not None else ()
                flat = chain.from_iterable(chain(cell.counts.items(), inputs))
                while amounts := tuple(islice(flat, 2 * SLOTS_STEP)):
                    self.change(target, 0, 0, (), amounts)
                    done += len(amounts)
                    if done >= 2 * SLOTS_STEP:
                        done = 0
                        yield

    def _hand_over(self, day: Span, windows: list[Span]) -> Iterator[None]:
        """Let the cells of the windows refer to those of the day, which has replaced them; yield after each step.

        Empties the windows, so that their memory is freed step by step.
        """
        done = 0
        for window in windows:
            while window.cells:
                dims, cell = window.cells.popitem()
                cell.rolled_into = day.cells[dims]
                self._note_gone(cell)
                done += 1
                if done % STEP == 0:
                    yield
        for cell in day.cells.values():
            self.dirty[cell] = None
            done += 1
            if done % STEP == 0:
                yield

    def forget(self, before: int) -> Iterator[None]:
        """Remove the spans that ended by ``before`` (ms). Their cells become expired; saved cells go into ``gone``.

        Yields after each STEP cells. Run the generator to its end.
        """
        old = [span for span in self.windows.values() if span.end <= before]
        for span in old:
            del self.windows[span.begin]
        while self.days and self.days[0].end <= before:
            old.append(self.days[0])
            self.days = self.days[1:]
        done = 0
        for span in old:
            while span.cells:
                _, cell = span.cells.popitem()
                cell.expired = True
                self._note_gone(cell)
                done += 1
                if done % STEP == 0:
                    yield
            while span.unsummed:
                span.unsummed.popitem()
                done += 1
                if done % STEP == 0:
                    yield

    def add_day(self, day: Span) -> None:
        """Add a rolled-up day, which overlaps none that is there."""
        index = bisect_right(self.days, day.begin, key=_begin)
        self.days = (*self.days[:index], day, *self.days[index:])

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
            self.gone[cell] = None


if not COMPILED:
    Spans = as_struct(Spans)


def _take_saved(cell: Cell) -> Iterator[tuple[Cell, str]]:
    if cell.saved:
        cell.saved = False
        yield cell, ""
        if cell.inputs is not None:
            for slot in cell.inputs.saved_slots():
                yield cell, slot


def _begin(span: Span) -> int:
    return span.begin


def _end(span: Span) -> int:
    return span.end
