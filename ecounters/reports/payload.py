"""A user's counters over a range of time -> the bytes of an answer, in the documented form, and their ETag."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from ecounters.counters.definitions import COUNTERS, PAYLOAD, Counter, Kind
from ecounters.reports.totals import Totals

Value = dict[str, int] | int | float

_PAYLOAD: Final = tuple(counter.key for counter in PAYLOAD)
LIVE_KINDS: Final = (Kind.LIVE_MAP, Kind.LIVE_SUM, Kind.BALANCE)
_COUNTED: Final = tuple(counter.key for counter in PAYLOAD if counter.kind not in LIVE_KINDS)


NAMES_MAX: Final = 65_536
"""Names of DIDs, campaigns, inputs... whose place in a map is remembered: they are asked for again and again."""


def message(totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The ``message`` of a reply: the payload's counters in their documented order, then ``fields`` as they come.

    ``fields``: keys of COUNTERS. A field that is in the payload, or comes twice, stands at its first place only.
    """
    return _values((*_PAYLOAD, *fields), totals)


def message_without_live(totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The ``message`` of one step of a series: like ``message``, without live calls and balances."""
    return _values((*_COUNTED, *fields), totals)


def _values(keys: Iterable[str], totals: Totals) -> dict[str, Value]:
    counters = (COUNTERS[key] for key in dict.fromkeys(keys))
    return {counter.key: _RENDER[counter.kind](counter, totals) for counter in counters}


def body(told: dict[str, Value] | list[dict[str, Any]]) -> bytes:
    """The bytes of a successful answer."""
    return orjson.dumps({"message": told, "status": "success"})


def etag(content: bytes) -> str:
    """The weak ETag of a body: its length in hexadecimal, and the first 27 characters of base64(sha1)."""
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    return f'W/"{len(content):x}-{digest[:27]}"'


def in_order(entries: dict[str, int]) -> dict[str, int]:
    """A map as it is printed: whole numbers first, ascending by value, then the others in code point order."""
    return dict(sorted(entries.items(), key=lambda entry: _rank(entry[0])))


@lru_cache(NAMES_MAX)
def _rank(name: str) -> tuple[bool, int, str]:
    whole = re.fullmatch(r"-?[0-9]+", name) is not None
    return not whole, int(name) if whole else 0, name


def whole(number: float) -> int | float:
    """A whole-valued number as an integer."""
    return int(number) if number == int(number) else number


def seconds(ms: int, parts: int = 1) -> int | float:
    """ms / parts as seconds, rounded to 3 decimals; 0 where there is nothing to divide by."""
    return whole(round(ms / parts / 1000, 3)) if parts else 0


# ------------------------------------------------------------------------------- one function for each Kind


def _live_map(counter: Counter, totals: Totals) -> dict[str, int]:
    return in_order(totals.live_by(counter.source[0]))


def _live_sum(counter: Counter, totals: Totals) -> int:
    return sum(totals.live_by(counter.source[0]).values())


def _call_map(counter: Counter, totals: Totals) -> dict[str, int]:
    return in_order(totals.calls_by(counter.source[0]))


def _input_map(counter: Counter, totals: Totals) -> dict[str, int]:
    return in_order(totals.inputs(counter.key))


def _count(counter: Counter, totals: Totals) -> int:
    return totals.counts.get(counter.key, 0)


def _sum(counter: Counter, totals: Totals) -> int:
    return sum(totals.counts.get(key, 0) for key in counter.source)


def _seconds(counter: Counter, totals: Totals) -> int | float:
    return seconds(totals.counts.get(counter.key, 0))


def _average(counter: Counter, totals: Totals) -> int | float:
    time, divisor = counter.source
    return seconds(totals.counts.get(time, 0), totals.counts.get(divisor, 0))


def _balance(counter: Counter, totals: Totals) -> int | float:
    return whole(totals.call_balance if counter.source[0] == "callBalance" else totals.balance)


_RENDER: Final[dict[Kind, Callable[[Counter, Totals], Value]]] = {
    Kind.LIVE_MAP: _live_map,
    Kind.LIVE_SUM: _live_sum,
    Kind.CALL_MAP: _call_map,
    Kind.INPUT_MAP: _input_map,
    Kind.COUNT: _count,
    Kind.SUM: _sum,
    Kind.SECONDS: _seconds,
    Kind.AVERAGE: _average,
    Kind.BALANCE: _balance,
}
"""How the value of a counter is rendered, by the counter's Kind: (counter, totals) -> its JSON value."""
