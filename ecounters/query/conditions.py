"""Conditions of a filter on a call's dimensions: JSON -> a tree of conditions -> one function of Dims.

    dates, where = read_filter([{"field": "did", "value": "1800"}, {"field": "date", "value": "today"}])
    predicate = where.to_predicate()         # `where` is None if the filter has conditions on the date alone, or none
    predicate(("IBD", "", "1800", 16))       # True: calls with these dimensions count

A live call has the status None: "eq" and "in" of a status never hold for it, "ne" and "nin" always do. A call without
a campaign or DID has "" for it, so the value "" selects these calls. ``dates`` has the conditions on the date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from ecounters.errors import INVALID_PARAMETER, INVALID_TYPE, RequestRefused
from ecounters.events.campaigns import campaign_of
from ecounters.events.types import CALL_TYPES, STATUS_MAX, TEXT_MAX
from ecounters.query.dates import DateCondition, read_date
from ecounters.text import shown
from ecounters.windows.dims import Dims

CONDITIONS_MAX: Final = 32
"""The most conditions of a filter, nested ones and each "and", "or", "not" counted: each one costs time per cell."""
VALUES_MAX: Final = 1_000
"""The most values in all conditions of a filter together."""
DEPTH_MAX: Final = 8
"""The most "and", "or", "not" around a condition: the conditions are read and evaluated by recursion."""

Predicate = Callable[[Dims], bool]


# -------------------------------------------------------------------------------------------------- the tree


@dataclass(frozen=True, slots=True)
class OneOf:
    """The dimension has one of the values or, if ``negated``, none of them. ``dimension``: a field of Dims."""

    dimension: str
    values: frozenset[str | int]
    negated: bool = False

    def to_predicate(self) -> Predicate:
        """The function Dims -> whether the condition holds."""
        dimension, values = attrgetter(self.dimension), self.values
        if self.negated:
            return lambda dims: dimension(dims) not in values
        return lambda dims: dimension(dims) in values


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of the conditions hold: "and", or a filter that is a list of several conditions."""

    conditions: tuple[Where, ...]

    def to_predicate(self) -> Predicate:
        """The function Dims -> whether all conditions hold."""
        predicates = [condition.to_predicate() for condition in self.conditions]
        return lambda dims: all(predicate(dims) for predicate in predicates)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the conditions holds: "or"."""

    conditions: tuple[Where, ...]

    def to_predicate(self) -> Predicate:
        """The function Dims -> whether any condition holds."""
        predicates = [condition.to_predicate() for condition in self.conditions]
        return lambda dims: any(predicate(dims) for predicate in predicates)


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold: "not"."""

    condition: Where

    def to_predicate(self) -> Predicate:
        """The function Dims -> whether the condition fails."""
        predicate = self.condition.to_predicate()
        return lambda dims: not predicate(dims)


Where = OneOf | AllOf | AnyOf | Not
"""A tree of conditions on the dimensions of a call."""


# ------------------------------------------------------------------------------------------------- reading


def read_filter(conditions: list[Any]) -> tuple[tuple[DateCondition, ...], Where | None]:
    """The ``filter`` of a request -> (its conditions on the date, all its other conditions joined by "and").

    The second is None if there are no others. Raises RequestRefused: 1000 for a wrong value, 1001 for a wrong JSON
    type. The detail begins with the path of the error, as "filter[1].or[0].value", or with "filter" for too many
    conditions.
    """
    reader = _Reader()
    read = [reader.read(condition, f"filter[{index}]", 0) for index, condition in enumerate(conditions)]
    others = tuple(condition for condition in read if condition is not None)
    if len(others) > 1:
        return tuple(reader.dates), AllOf(others)
    return tuple(reader.dates), others[0] if others else None


class _Reader:
    """Reads the conditions of one filter. Collects those on the date; counts conditions and values for the limits."""

    def __init__(self) -> None:
        self.dates: list[DateCondition] = []
        self._conditions = 0
        self._values = 0

    def read(self, condition: Any, path: str, depth: int) -> Where | None:
        """Read a condition with those nested in it. A condition on the date is added to ``dates``, and None returned.

        ``depth``: how many "and", "or", "not" are around the condition. Raises RequestRefused.
        """
        self._conditions += 1
        if self._conditions > CONDITIONS_MAX:
            raise RequestRefused(INVALID_PARAMETER, f"filter has more than {CONDITIONS_MAX} conditions")
        if depth > DEPTH_MAX:
            raise RequestRefused(INVALID_PARAMETER, f"{path} is inside of more than {DEPTH_MAX} and, or, not")
        if type(condition) is not dict:
            raise RequestRefused(INVALID_TYPE, f"{path} must be an object")
        word = next((word for word in ("and", "or", "not") if word in condition), None)
        allowed = (word,) if word is not None else ("field", "op", "value")
        for name in condition:
            if name not in allowed:
                raise RequestRefused(INVALID_PARAMETER, f"{path} has an unknown part {shown(name)}")
        if word == "not":
            inner = self.read(condition[word], f"{path}.not", depth + 1)
            return None if inner is None else Not(inner)
        if word is not None:
            return self._read_list(word, condition[word], f"{path}.{word}", depth + 1)
        return self._read_leaf(condition, path, depth)

    def _read_list(self, word: str, conditions: Any, path: str, depth: int) -> Where:
        """Read the list of conditions of an "and" or "or". ``depth``: as in ``read``, with this one."""
        if type(conditions) is not list:
            raise RequestRefused(INVALID_TYPE, f"{path} must be an array")
        if not conditions:
            raise RequestRefused(INVALID_PARAMETER, f"{path} is empty")
        read = [self.read(condition, f"{path}[{index}]", depth) for index, condition in enumerate(conditions)]
        inner = tuple(condition for condition in read if condition is not None)
        return AllOf(inner) if word == "and" else AnyOf(inner)

    def _read_leaf(self, condition: dict[str, Any], path: str, depth: int) -> Where | None:
        """Read a condition with ``field`` and ``value``. One on the date is added to ``dates``, and None returned.

        Raises RequestRefused, among others for a date inside of and, or, not (``depth`` above 0).
        """
        if "field" not in condition or "value" not in condition:
            raise RequestRefused(INVALID_PARAMETER, f"{path} needs field and value, or one of and, or, not")
        self._values += len(condition["value"]) if type(condition["value"]) is list else 1
        if self._values > VALUES_MAX:
            raise RequestRefused(
                INVALID_PARAMETER, f"{path}.value: the filter has more than {VALUES_MAX} values in all"
            )
        if condition["field"] != "date":
            return _one_of(condition, path)
        if depth:
            raise RequestRefused(INVALID_PARAMETER, f"{path}.field: date can't be inside of and, or, not")
        self.dates.append(read_date(condition, path))
        return None


VALUE_OPS: Final = {"eq": False, "ne": True, "in": False, "nin": True}
"""op -> whether it is negated. "in" and "nin" take an array of values, the others take a single value."""


def _one_of(condition: dict[str, Any], path: str) -> OneOf:
    """A condition on a dimension. Without an op, an array means "in" and a single value "eq". Raises RequestRefused."""
    field, value = condition["field"], condition["value"]
    row = DIMENSIONS.get(field) if type(field) is str else None
    if row is None:
        known = ", ".join(("date", *DIMENSIONS))
        raise RequestRefused(INVALID_PARAMETER, f"{path}.field {shown(field)} is none of {known}")
    is_array = type(value) is list
    op = condition.get("op", "in" if is_array else "eq")
    if type(op) is not str:
        raise RequestRefused(INVALID_TYPE, f"{path}.op must be a string")
    if op not in VALUE_OPS:
        raise RequestRefused(INVALID_PARAMETER, f"{path}.op {shown(op)} is none of {', '.join(VALUE_OPS)}")
    if is_array != (op in ("in", "nin")):
        raise RequestRefused(INVALID_TYPE, f"{path}.value must be " + ("one value" if is_array else "an array"))
    if value == []:
        raise RequestRefused(INVALID_PARAMETER, f"{path}.value is empty")
    dimension, read = row
    if not is_array:
        return OneOf(dimension, frozenset((read(value, f"{path}.value"),)), VALUE_OPS[op])
    values = frozenset(read(item, f"{path}.value[{index}]") for index, item in enumerate(value))
    return OneOf(dimension, values, VALUE_OPS[op])


# -------------------------------------------------------------------------------------------------- values


def _text(value: Any, path: str) -> str:
    """A value as text, which is what parsed events have: the number 7 or 7.0 is "7". Raises RequestRefused."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) not in (str, int):
        if type(value) is float:
            raise RequestRefused(INVALID_PARAMETER, f"{path} {shown(value)} is no whole number")
        raise RequestRefused(INVALID_TYPE, f"{path} must be a string or a number")
    text = str(value)
    if len(text) > TEXT_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"{path} {shown(value)} is longer than {TEXT_MAX} characters")
    return text


def _campaign(value: Any, path: str) -> str:
    return campaign_of(_text(value, path))


def _call_type(value: Any, path: str) -> str:
    text = _text(value, path)
    if text not in CALL_TYPES:
        raise RequestRefused(INVALID_PARAMETER, f"{path} {shown(value)} is none of {', '.join(CALL_TYPES)}")
    return text


def _status(value: Any, path: str) -> int:
    text = _text(value, path)
    if not re.fullmatch(r"-?[0-9]{1,15}", text) or not -STATUS_MAX - 1 <= int(text) <= STATUS_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"{path} {shown(value)} is no status: a whole number")
    return int(text)


DIMENSIONS: Final[dict[str, tuple[str, Callable[[Any, str], str | int]]]] = {
    "callType": ("type", _call_type),
    "campaignId": ("campaign", _campaign),
    "did": ("did", _text),
    "status": ("status", _status),
}
"""field -> (that of Dims, reader). A reader takes (JSON value, path) and raises RequestRefused."""
