"""A user's counters over a range of time -> the bytes of an answer, in the documented form, and their ETag."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from ecounters.cells import Dims
from ecounters.conditions import Where
from ecounters.counters import COUNTERS, PAYLOAD, Counter, Kind
from ecounters.user import LiveKey, User

Value = dict[str, int] | int | float

_DIMENSION: Final = {"type": 0, "campaign": 1, "did": 2, "status": 3}
_LIVE_DIMENSION: Final = {"type": 0, "campaign": 1, "did": 2, "ivr": 3}
_PAYLOAD: Final = tuple(counter.key for counter in PAYLOAD)
OF_NOW: Final = (Kind.LIVE_MAP, Kind.LIVE_SUM, Kind.BALANCE)
_COUNTED: Final = tuple(counter.key for counter in PAYLOAD if counter.kind not in OF_NOW)


class Totals:
    """The sums over the cells of a range that ``where`` holds for. ``begin`` and ``end`` are what was counted, in ms.

    ``live``: whether to count the live calls too, which are of now.
    """

    __slots__ = ("_by_dims", "begin", "counts", "end", "live")

    def __init__(
        self, user: User | None, begin: int, end: int, where: Where | None = None, *, live: bool = True
    ) -> None:
        self.begin, self.end = begin, end
        self.counts: dict[str, int] = {}
        self.live: dict[LiveKey, int] = {}
        self._by_dims: dict[Dims, int] = {}
        if user is None:
            return
        user.settle()
        holds = where.compiled() if where is not None else None
        if live:
            self.live = user.live if holds is None else {k: n for k, n in user.live.items() if holds((*k[:3], None))}
        counts, by_dims = self.counts, self._by_dims
        for span in user.spans.within(begin, end):
            self.begin = min(self.begin, span.begin)
            self.end = max(self.end, span.end)
            for dims, cell in span.cells.items():
                if holds is not None and not holds(dims):
                    continue
                for slot, amount in cell.counts.items():
                    counts[slot] = counts.get(slot, 0) + amount
                by_dims[dims] = by_dims.get(dims, 0) + cell.counts.get("TC", 0)

    def calls_by(self, dimension: str) -> dict[str, int]:
        """Calls by the values of one dimension, without those that have none."""
        at = _DIMENSION[dimension]
        found: dict[str, int] = {}
        for dims, calls in self._by_dims.items():
            value = dims[at]
            if value is not None and value != "" and calls:
                name = str(value)
                found[name] = found.get(name, 0) + calls
        return found

    def inputs(self, key: str) -> dict[str, int]:
        """The entries of a map of inputs."""
        prefix = key + "/"
        return {slot[len(prefix) :]: n for slot, n in self.counts.items() if slot.startswith(prefix)}


def message(user: User | None, totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The answer's ``message``: the payload's counters, then the fields asked for, as JSON values in order."""
    return _values((*_PAYLOAD, *fields), user, totals)


def counted(totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The same without what is of now: live calls and balances."""
    return _values((*_COUNTED, *fields), None, totals)


def _values(keys: Iterable[str], user: User | None, totals: Totals) -> dict[str, Value]:
    return {key: _VALUES[COUNTERS[key].kind](COUNTERS[key], user, totals) for key in dict.fromkeys(keys)}


def body(told: dict[str, Value] | list[dict[str, Any]]) -> bytes:
    """The bytes of a successful answer."""
    return orjson.dumps({"message": told, "status": "success"})


def etag(content: bytes) -> str:
    """The weak ETag of a body: its length in hexadecimal, and the first 27 characters of base64(sha1)."""
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    return f'W/"{len(content):x}-{digest[:27]}"'


def in_order(entries: dict[str, int]) -> dict[str, int]:
    """A map as it is printed: whole numbers first, ascending by value, then the others in code point order."""
    return dict(sorted(entries.items(), key=_rank))


def _rank(entry: tuple[str, int]) -> tuple[bool, int, str]:
    name = entry[0]
    whole = re.fullmatch(r"-?[0-9]+", name) is not None
    return not whole, int(name) if whole else 0, name


def whole(number: float) -> int | float:
    """A whole-valued number as an integer."""
    return int(number) if number == int(number) else number


def seconds(ms: int, parts: int = 1) -> int | float:
    """ms / parts as seconds, rounded to 3 decimals; 0 where there is nothing to divide by."""
    return whole(round(ms / parts / 1000, 3)) if parts else 0


def _live(counter: Counter, totals: Totals) -> dict[str, int]:
    at = _LIVE_DIMENSION[counter.source[0]]
    found: dict[str, int] = {}
    for key, calls in totals.live.items():
        if key[at]:
            found[key[at]] = found.get(key[at], 0) + calls
    return found


def _balance(counter: Counter, user: User | None) -> int | float:
    if user is None:
        return 0
    known = user.call_balance if counter.source[0] == "callBalance" else user.balance
    return whole(known[2]) if known is not None else 0


def _average(counter: Counter, totals: Totals) -> int | float:
    time, number = counter.source
    return seconds(totals.counts.get(time, 0), totals.counts.get(number, 0))


_VALUES: Final[dict[Kind, Callable[[Counter, User | None, Totals], Value]]] = {
    Kind.LIVE_MAP: lambda counter, user, totals: in_order(_live(counter, totals)),
    Kind.LIVE_SUM: lambda counter, user, totals: sum(_live(counter, totals).values()),
    Kind.CALL_MAP: lambda counter, user, totals: in_order(totals.calls_by(counter.source[0])),
    Kind.INPUT_MAP: lambda counter, user, totals: in_order(totals.inputs(counter.key)),
    Kind.COUNT: lambda counter, user, totals: totals.counts.get(counter.key, 0),
    Kind.SUM: lambda counter, user, totals: sum(totals.counts.get(key, 0) for key in counter.source),
    Kind.SECONDS: lambda counter, user, totals: seconds(totals.counts.get(counter.key, 0)),
    Kind.AVERAGE: lambda counter, user, totals: _average(counter, totals),
    Kind.BALANCE: lambda counter, user, totals: _balance(counter, user),
}
