"""Restoring: puts saved cells into the spans of an account that nothing else changes. Nothing becomes dirty.

A restore puts each cell into new spans once. Who follows a changelog puts in the later values too, and takes cells out;
replies may be made in between.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice, takewhile

from ecounters.large_dict import LargeDict
from ecounters.windows.calendar import WINDOW_MS
from ecounters.windows.cell import Cell, Inputs, has_many_inputs, split
from ecounters.windows.dims import Dims
from ecounters.windows.span import Span
from ecounters.windows.spans import Spans


def restore_cell(spans: Spans, begin: int, end: int, dims: Dims, counts: dict[str, int] | None) -> None:
    """Add one saved cell, or replace its counts, or remove it if ``counts`` is None. No call may refer to it yet.

    A whole cell with many input slots, as an older version saves it, is split; its entry is replaced when the cell
    changes, and so are all its input slots then.
    """
    if counts is None:
        _remove(spans, begin, end, dims)
        return
    span, cell = _cell(spans, begin, end, dims)
    if cell.in_sum:
        span.retract(cell)
    cell.counts = counts
    if _is_split_here(cell):
        cell.inputs = None
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
            cell.inputs.counts.discard(slot)
            if not cell.inputs.counts:  # there is no entry any more by which it is known as split
                cell.inputs = None
        return
    span, cell = _cell(spans, begin, end, dims)
    if cell.inputs is None or _is_split_here(cell):
        if cell.in_sum:
            span.retract(cell)  # it is added again as one that is split
        cell.inputs = Inputs(LargeDict(), LargeDict())
    cell.inputs.counts[slot] = amount


def _is_split_here(cell: Cell) -> bool:
    """Whether ``restore_cell`` has split the cell: the changelog has no entry of its input slots."""
    return cell.inputs is not None and cell.inputs.saved is None


def _remove(spans: Spans, begin: int, end: int, dims: Dims) -> None:
    """Remove a cell, and the span if it was the last one."""
    span = _span(spans, begin, end)
    cell = span.cells.pop(dims, None) if span is not None else None
    if span is None or cell is None:
        return
    if cell.in_sum:
        span.retract(cell)
    span.split.pop(cell, None)
    cell.counts, cell.inputs = {}, None  # if it waits in ``unsummed``, it adds nothing
    if not span.cells:
        if end - begin == WINDOW_MS:
            del spans.windows[begin]
        else:
            spans.days = tuple(day for day in spans.days if day is not span)


def _span(spans: Spans, begin: int, end: int) -> Span | None:
    """The span [begin, end) that has been restored; None if there is none."""
    if end - begin == WINDOW_MS:
        return spans.windows.get(begin)
    index = bisect_left(spans.days, begin, key=_begin)
    days = takewhile(lambda day: day.begin == begin, islice(spans.days, index, None))
    return next((day for day in days if day.end == end), None)


def _cell(spans: Spans, begin: int, end: int, dims: Dims) -> tuple[Span, Cell]:
    """(its span, the cell that is being restored). Adds the span and the cell if they are missing."""
    span = _span(spans, begin, end)
    if span is None:
        span = Span(begin, end)
        if end - begin == WINDOW_MS:
            spans.windows[begin] = span
        else:
            spans.add_day(span)
    cell = span.cell(dims)
    cell.saved = True
    return span, cell


def _begin(span: Span) -> int:
    return span.begin
