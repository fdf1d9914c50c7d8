"""Restoring: puts saved cells into the new spans of an account. No sum is updated, and nothing becomes dirty."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import islice, takewhile

from ecounters.large_dict import LargeDict
from ecounters.windows.calendar import WINDOW_MS
from ecounters.windows.cell import Cell, Dims, Inputs, has_many_inputs, split
from ecounters.windows.span import Span
from ecounters.windows.spans import Spans


def restore_cell(spans: Spans, begin: int, end: int, dims: Dims, counts: dict[str, int] | None) -> None:
    """Add one saved cell, or remove it again if ``counts`` is None. Call this before anything else uses the spans.

    A whole cell with many input slots, as an older version saves it, is split; its entry is replaced when the cell
    changes.
    """
    if counts is None:
        span = _span(spans, begin, end)
        if span is not None:
            span.cells.pop(dims, None)
        return
    cell = _cell(spans, begin, end, dims)
    cell.counts = counts
    if cell.inputs is None and has_many_inputs(cell):
        split(cell)


def restore_slot(spans: Spans, begin: int, end: int, dims: Dims, slot: str, amount: int | None) -> None:
    """Add one saved input slot of a split cell, or remove it again if ``amount`` is None.

    The cell itself may be restored before or after its slots. A flush that writes a slot writes the cell too, and one
    that deletes the cell deletes its slots: so no slot is without a cell in the end.
    """
    if amount is None:
        span = _span(spans, begin, end)
        cell = span.cells.get(dims) if span is not None else None
        if cell is not None and cell.inputs is not None:
            cell.inputs.counts.pop(slot, None)
        return
    cell = _cell(spans, begin, end, dims)
    if cell.inputs is None:
        cell.inputs = Inputs(LargeDict(), LargeDict())
    cell.inputs.counts[slot] = amount


def _span(spans: Spans, begin: int, end: int) -> Span | None:
    """The span [begin, end) that has been restored; None if there is none."""
    if end - begin == WINDOW_MS:
        return spans.windows.get(begin)
    index = bisect_left(spans.days, begin, key=_begin)
    days = takewhile(lambda day: day.begin == begin, islice(spans.days, index, None))
    return next((day for day in days if day.end == end), None)


def _cell(spans: Spans, begin: int, end: int, dims: Dims) -> Cell:
    """The cell that is being restored. Adds the span and the cell if they are missing."""
    span = _span(spans, begin, end)
    if span is None:
        span = Span(begin, end)
        if end - begin == WINDOW_MS:
            spans.windows[begin] = span
        else:
            insort(spans.days, span, key=_begin)
    cell = span.cell(dims)
    cell.saved = True
    return cell


def _begin(span: Span) -> int:
    return span.begin
