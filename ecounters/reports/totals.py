"""Totals: the sums over the cells of a range, which ``payload`` renders."""

from __future__ import annotations

from typing import Final

from ecounters.partition.user import LiveKey, User
from ecounters.query.conditions import Where
from ecounters.windows.sums import Sum

_DIMENSION: Final = {"type": 0, "campaign": 1, "did": 2, "status": 3}
_LIVE_DIMENSION: Final = {"type": 0, "campaign": 1, "did": 2, "ivr": 3}


class Totals:
    """The sums over the cells of a range that ``where`` holds for. ``begin`` and ``end`` are what was counted, in ms.

    ``live``: whether to count the live calls too, which are of now.
    """

    __slots__ = ("_inputs", "_live_by", "_sum", "begin", "counts", "end", "live")

    def __init__(
        self, user: User | None, begin: int, end: int, where: Where | None = None, *, live: bool = True
    ) -> None:
        self.begin, self.end = begin, end
        self._sum = Sum()
        self.counts = self._sum.counts
        self.live: dict[LiveKey, int] = {}
        self._inputs: dict[str, dict[str, int]] | None = None
        self._live_by: tuple[dict[str, int], ...] | None = None
        if user is None:
            return
        user.settle()
        holds = where.to_predicate() if where is not None else None
        if live:
            self.live = user.live if holds is None else {k: n for k, n in user.live.items() if holds((*k[:3], None))}
        for span in user.spans.within(begin, end):
            self.begin = min(self.begin, span.begin)
            self.end = max(self.end, span.end)
            if holds is None:
                span.add_to(self._sum)
                continue
            for dims, cell in span.cells.items():
                if holds(dims):
                    self._sum.add(dims, cell.counts)

    def calls_by(self, dimension: str) -> dict[str, int]:
        """Calls by the values of one dimension, without those that have none."""
        found = self._sum.calls[_DIMENSION[dimension]]
        return {str(value): calls for value, calls in found.items() if value is not None and value != "" and calls}

    def inputs(self, key: str) -> dict[str, int]:
        """The entries of a map of inputs."""
        if self._inputs is None:
            self._inputs = {}
            for slot, amount in self.counts.items():
                name, slash, entry = slot.partition("/")
                if slash and amount:
                    self._inputs.setdefault(name, {})[entry] = amount
        return self._inputs.get(key, {})

    def live_by(self, dimension: str) -> dict[str, int]:
        """Live calls by the values of one dimension, without those that have none."""
        if self._live_by is None:
            self._live_by = ({}, {}, {}, {})
            for key, calls in self.live.items():
                for by, value in zip(self._live_by, key, strict=True):
                    if value:
                        by[value] = by.get(value, 0) + calls
        return self._live_by[_LIVE_DIMENSION[dimension]]
