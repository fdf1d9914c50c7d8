"""Counting calls in spans without their records."""

from __future__ import annotations

from ecounters.windows.cell import Amounts, Cell
from ecounters.windows.spans import Spans


def count_call(spans: Spans, cell: Cell, units: int, amounts: Amounts = ()) -> None:
    """Count a call in a cell."""
    spans.change(cell, 0, units, (), amounts)


def take_back(spans: Spans, cell: Cell, units: int, amounts: Amounts = ()) -> None:
    """Take back what ``count_call`` has counted."""
    spans.change(cell, units, 0, amounts, ())
