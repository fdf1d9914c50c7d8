"""Totals -> the documented ``message`` of a reply; a message -> the bytes of the reply's body and their ETag.

The same totals give the same bytes on every worker, whatever order the calls came in. So an equal ETag means that the
counters have not changed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from ecounters.counters.definitions import COUNTERS, PAYLOAD, Counter, Kind
from ecounters.large_dict import LargeDict
from ecounters.reports.totals import Totals

Value = dict[str, int] | int | float
"""The value of a counter in a message."""

LIVE_KINDS: Final = (Kind.LIVE_MAP, Kind.LIVE_SUM, Kind.BALANCE)
"""Kinds of counters whose value is of now, whatever the range is. The steps of a series do not have these counters."""

KEYS: Final = tuple(counter.key for counter in PAYLOAD)
"""The counters that each message has, in their order."""
KEYS_WITHOUT_LIVE: Final = tuple(counter.key for counter in PAYLOAD if counter.kind not in LIVE_KINDS)
"""The counters that the message of each step of a series has."""

is_whole = re.compile(r"-?[0-9]+").fullmatch
"""Whether a key of a map is a whole number: such keys come first, by their value."""

NAMES_MAX: Final = 65_536
"""How many keys of maps (DIDs, campaigns, DTMF inputs, ...) are cached with their sort keys: every reply sorts the same
ones."""


def message(totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The ``message`` of a reply: the counters of PAYLOAD in their order, then those of ``fields`` in theirs.

    ``fields``: keys of COUNTERS. A repeated one, or one that is in PAYLOAD, changes nothing.
    """
    return _values((*KEYS, *fields), totals)


def message_without_live(totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The ``message`` of one step of a series: as ``message``, without the counters of LIVE_KINDS."""
    return _values((*KEYS_WITHOUT_LIVE, *fields), totals)


def _values(keys: Iterable[str], totals: Totals) -> dict[str, Value]:
    return {key: value_of(key, totals) for key in dict.fromkeys(keys)}


def value_of(key: str, totals: Totals) -> Value:
    """The value of one counter in a message. ``key``: of COUNTERS."""
    counter = COUNTERS[key]
    return _RENDER[counter.kind](counter, totals)


def body(content: dict[str, Value] | list[dict[str, Any]]) -> bytes:
    """The body of a successful reply, whose ``message`` is a message or the steps of a series."""
    return orjson.dumps({"message": content, "status": "success"})


def etag(content: bytes) -> str:
    """The weak ETag of a body, as the vendor's server makes it: W/"<length in hex>-<27 characters of base64(sha1)>"."""
    return etag_of(len(content), hashlib.sha1(content, usedforsecurity=False).digest())


def etag_of(length: int, sha1: bytes) -> str:
    """The ETag of a body of so many bytes with that SHA-1."""
    return f'W/"{length:x}-{base64.b64encode(sha1).decode()[:27]}"'


def in_order(entries: dict[str, int] | LargeDict[str, int]) -> dict[str, int]:
    """A map in the order of a reply: first keys that are whole numbers, by value; then the others, by code points."""
    return dict(sorted(entries.items(), key=lambda entry: _rank(entry[0])))


@lru_cache(NAMES_MAX)
def _rank(name: str) -> tuple[bool, int, str]:
    """The sort key of a map's key: (whether it is no whole number, its value or 0, the key itself).

    The third orders "07" and "7", which have one value.
    """
    whole_number = is_whole(name) is not None
    return not whole_number, int(name) if whole_number else 0, name


def whole(number: float) -> int | float:
    """The number, as an integer if it has no fraction: JSON then has 12 in place of 12.0."""
    return int(number) if number == int(number) else number


def seconds(ms: int, divisor: int = 1) -> int | float:
    """A time in ms -> seconds, divided by ``divisor`` for an average, rounded to 3 decimals; 0 for a divisor of 0."""
    return whole(round(ms / divisor / 1000, 3)) if divisor else 0


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
