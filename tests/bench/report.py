"""Output for people: progress on stderr, results as tables on stdout."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

NOTE_COLUMNS: Final = 110

_BEGAN: Final = time.monotonic()

Cell = str | float | int


def say(text: str) -> None:
    """Print a line of progress, with minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    print(f"[{minutes}:{seconds:02d}] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Table:
    """A table of results. ``notes`` say how each number was measured."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """Add a row; its first cell names it."""
        self.rows.append(cells)

    def print(self) -> None:
        """Print the table, with numbers right-aligned, and its notes."""
        lines = [list(self.columns), *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]
        print(f"\n{self.title}\n")
        for line in lines:
            first, *others = (
                text.ljust(w) if not at else text.rjust(w)
                for at, (text, w) in enumerate(zip(line, widths, strict=True))
            )
            print("  " + "  ".join([first, *others]).rstrip())
        if self.notes:
            print()
        for note in self.notes:
            print(textwrap.fill(note, NOTE_COLUMNS, initial_indent="  * ", subsequent_indent="    "))
        sys.stdout.flush()


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(len(ordered) * share + 0.999999) - 1))]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the straight line nearest to the points (least squares)."""
    across, up = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    return sum((x - across) * (y - up) for x, y in points) / sum((x - across) ** 2 for x, _ in points)


def _shown(cell: Cell) -> str:
    """A cell as text: floats have two decimals below 100, one below 1,000, and none above."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1_000:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 100 else f"{cell:.2f}"
