"""What a filter says of calls beside the date: its conditions -> a tree -> one function dims -> whether they count.

A live call has no status, so that ``eq`` and ``in`` of one never hold for it, and ``ne`` and ``nin`` always do. The
campaign or DID "" is that of the calls without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ecounters.errors import INVALID_PARAMETER, INVALID_TYPE, RequestRefused
from ecounters.events.types import CALL_TYPES, STATUS_MAX, TEXT_MAX, campaign_of
from ecounters.query.dates import DateCondition, read_date
from ecounters.text import shown
from ecounters.windows.cell import CAMPAIGN, DID, STATUS, TYPE, Dims

CONDITIONS_MAX: Final = 32
"""Of a filter, with all that are inside of others."""
VALUES_MAX: Final = 1_000
DEPTH_MAX: Final = 8
"""So many and, or, not may be around a condition."""

Predicate = Callable[[Dims], bool]


@dataclass(frozen=True, slots=True)
class OneOf:
    """The dimension at that place of Dims has one of these values or, ``negated``, none of them."""

    at: int
    values: frozenset[str | int]
    negated: bool = False

    def to_predicate(self) -> Predicate:
        """The function of this condition."""
        at, values = self.at, self.values
        if self.negated:
            return lambda dims: dims[at] not in values
        return lambda dims: dims[at] in values


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of these hold."""

    parts: tuple[Where, ...]

    def to_predicate(self) -> Predicate:
        """The function of all."""
        holds = [part.to_predicate() for part in self.parts]
        return lambda dims: all(one(dims) for one in holds)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these holds."""

    parts: tuple[Where, ...]

    def to_predicate(self) -> Predicate:
        """The function of any."""
        holds = [part.to_predicate() for part in self.parts]
        return lambda dims: any(one(dims) for one in holds)


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    part: Where

    def to_predicate(self) -> Predicate:
        """The function of the opposite."""
        part = self.part.to_predicate()
        return lambda dims: not part(dims)


Where = OneOf | AllOf | AnyOf | Not


def read_filter(given: list[Any]) -> tuple[tuple[DateCondition, ...], Where | None]:
    """(the conditions on the date, all the others as one), or Refused, whose text begins with the place."""
    reader = _Reader()
    parts = [part for at, one in enumerate(given) if (part := reader.read(one, f"filter[{at}]", 0)) is not None]
    return tuple(reader.dates), AllOf(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None


class _Reader:
    """Reads one filter, and counts what is in it."""

    def __init__(self) -> None:
        self.dates: list[DateCondition] = []
        self._conditions = 0
        self._values = 0

    def read(self, given: Any, place: str, depth: int) -> Where | None:
        """One condition with what is inside of it; None for one on the date."""
        self._conditions += 1
        if self._conditions > CONDITIONS_MAX:
            raise RequestRefused(INVALID_PARAMETER, f"filter has more than {CONDITIONS_MAX} conditions")
        if depth > DEPTH_MAX:
            raise RequestRefused(INVALID_PARAMETER, f"{place} is inside of more than {DEPTH_MAX} and, or, not")
        if type(given) is not dict:
            raise RequestRefused(INVALID_TYPE, f"{place} must be an object")
        word = next((word for word in ("and", "or", "not") if word in given), None)
        allowed = (word,) if word is not None else ("field", "op", "value")
        for name in given:
            if name not in allowed:
                raise RequestRefused(INVALID_PARAMETER, f"{place} has an unknown part {shown(name)}")
        if word == "not":
            part = self.read(given[word], f"{place}.not", depth + 1)
            return None if part is None else Not(part)
        if word is not None:
            return self._several(word, given[word], f"{place}.{word}", depth + 1)
        if "field" not in given or "value" not in given:
            raise RequestRefused(INVALID_PARAMETER, f"{place} needs field and value, or one of and, or, not")
        self._values += len(given["value"]) if type(given["value"]) is list else 1
        if self._values > VALUES_MAX:
            raise RequestRefused(
                INVALID_PARAMETER, f"{place}.value: the filter has more than {VALUES_MAX} values in all"
            )
        if given["field"] != "date":
            return _condition(given, place)
        if depth:
            raise RequestRefused(INVALID_PARAMETER, f"{place}.field: date can't be inside of and, or, not")
        self.dates.append(read_date(given, place))
        return None

    def _several(self, word: str, given: Any, place: str, depth: int) -> Where:
        if type(given) is not list:
            raise RequestRefused(INVALID_TYPE, f"{place} must be an array")
        if not given:
            raise RequestRefused(INVALID_PARAMETER, f"{place} is empty")
        found = [self.read(one, f"{place}[{at}]", depth) for at, one in enumerate(given)]
        parts = tuple(part for part in found if part is not None)
        return AllOf(parts) if word == "and" else AnyOf(parts)


VALUE_OPS: Final = {"eq": False, "ne": True, "in": False, "nin": True}
"""op -> whether it is the opposite."""


def _condition(given: dict[str, Any], place: str) -> OneOf:
    field, value = given["field"], given["value"]
    dimension = DIMENSIONS.get(field) if type(field) is str else None
    if dimension is None:
        known = ", ".join(("date", *DIMENSIONS))
        raise RequestRefused(INVALID_PARAMETER, f"{place}.field {shown(field)} is none of {known}")
    several = type(value) is list
    op = given.get("op", "in" if several else "eq")
    if type(op) is not str:
        raise RequestRefused(INVALID_TYPE, f"{place}.op must be a string")
    if op not in VALUE_OPS:
        raise RequestRefused(INVALID_PARAMETER, f"{place}.op {shown(op)} is none of {', '.join(VALUE_OPS)}")
    if several != (op in ("in", "nin")):
        raise RequestRefused(INVALID_TYPE, f"{place}.value must be " + ("one value" if several else "an array"))
    if value == []:
        raise RequestRefused(INVALID_PARAMETER, f"{place}.value is empty")
    at, read = dimension
    if not several:
        return OneOf(at, frozenset((read(value, f"{place}.value"),)), VALUE_OPS[op])
    found = frozenset(read(one, f"{place}.value[{n}]") for n, one in enumerate(value))
    return OneOf(at, found, VALUE_OPS[op])


# ------------------------------------------------------------------------------------------------- values


def _text(given: Any, place: str) -> str:
    """A value as events have it once they are read: a number is its digits, and 7.0 is 7."""
    if type(given) is float and given.is_integer():
        given = int(given)
    if type(given) not in (str, int):
        if type(given) is float:
            raise RequestRefused(INVALID_PARAMETER, f"{place} {shown(given)} is no whole number")
        raise RequestRefused(INVALID_TYPE, f"{place} must be a string or a number")
    text = str(given)
    if len(text) > TEXT_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"{place} {shown(given)} is longer than {TEXT_MAX} characters")
    return text


def _campaign(given: Any, place: str) -> str:
    return campaign_of(_text(given, place))


def _call_type(given: Any, place: str) -> str:
    text = _text(given, place)
    if text not in CALL_TYPES:
        raise RequestRefused(INVALID_PARAMETER, f"{place} {shown(given)} is none of {', '.join(CALL_TYPES)}")
    return text


def _status(given: Any, place: str) -> int:
    text = _text(given, place)
    if not re.fullmatch(r"-?[0-9]{1,15}", text) or not -STATUS_MAX - 1 <= int(text) <= STATUS_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"{place} {shown(given)} is no status: a whole number")
    return int(text)


DIMENSIONS: Final[dict[str, tuple[int, Callable[[Any, str], str | int]]]] = {
    "callType": (TYPE, _call_type),
    "campaignId": (CAMPAIGN, _campaign),
    "did": (DID, _text),
    "status": (STATUS, _status),
}
"""field -> (its place in Dims, how a value is read)."""
