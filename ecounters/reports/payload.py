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
from ecounters.partition.user import User
from ecounters.reports.totals import Totals

Value = dict[str, int] | int | float

_PAYLOAD: Final = tuple(counter.key for counter in PAYLOAD)
LIVE_KINDS: Final = (Kind.LIVE_MAP, Kind.LIVE_SUM, Kind.BALANCE)
_COUNTED: Final = tuple(counter.key for counter in PAYLOAD if counter.kind not in LIVE_KINDS)


NAMES_MAX: Final = 65_536
"""Names of DIDs, campaigns, inputs... whose place in a map is remembered: they are asked for again and again."""


def message(user: User | None, totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
    """The answer's ``message``: the payload's counters, then the fields asked for, as JSON values in order."""
    return _values((*_PAYLOAD, *fields), user, totals)


def message_without_live(totals: Totals, fields: Iterable[str] = ()) -> dict[str, Value]:
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


def _balance(counter: Counter, user: User | None) -> int | float:
    if user is None:
        return 0
    known = user.call_balance if counter.source[0] == "callBalance" else user.balance
    return whole(known[2]) if known is not None else 0


def _average(counter: Counter, totals: Totals) -> int | float:
    time, number = counter.source
    return seconds(totals.counts.get(time, 0), totals.counts.get(number, 0))


_VALUES: Final[dict[Kind, Callable[[Counter, User | None, Totals], Value]]] = {
    Kind.LIVE_MAP: lambda counter, user, totals: in_order(totals.live_by(counter.source[0])),
    Kind.LIVE_SUM: lambda counter, user, totals: sum(totals.live_by(counter.source[0]).values()),
    Kind.CALL_MAP: lambda counter, user, totals: in_order(totals.calls_by(counter.source[0])),
    Kind.INPUT_MAP: lambda counter, user, totals: in_order(totals.inputs(counter.key)),
    Kind.COUNT: lambda counter, user, totals: totals.counts.get(counter.key, 0),
    Kind.SUM: lambda counter, user, totals: sum(totals.counts.get(key, 0) for key in counter.source),
    Kind.SECONDS: lambda counter, user, totals: seconds(totals.counts.get(counter.key, 0)),
    Kind.AVERAGE: lambda counter, user, totals: _average(counter, totals),
    Kind.BALANCE: lambda counter, user, totals: _balance(counter, user),
}
