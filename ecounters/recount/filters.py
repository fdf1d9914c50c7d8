"""Whether the filter of a request matches a call, judged from its JSON for each call anew. Dates are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Dims = Mapping[str, Any]
"""The dimensions of a call: callType, campaignId ("" for none), did ("" for none), status (None while it lives)."""


def matches(conditions: Sequence[Mapping[str, Any]], dims: Dims) -> bool:
    """Whether all conditions hold for the dimensions. Conditions on the date are passed over. All must be valid."""
    return all(_holds(condition, dims) for condition in conditions)


def _holds(condition: Mapping[str, Any], dims: Dims) -> bool:
    if "and" in condition:
        return matches(condition["and"], dims)
    if "or" in condition:
        return any(_holds(inner, dims) for inner in condition["or"])
    if "not" in condition:
        return not _holds(condition["not"], dims)
    field, value = condition["field"], condition["value"]
    if field == "date":
        return True
    wanted = value if isinstance(value, list) else [value]
    same = any(_is_same(field, dims[field], item) for item in wanted)
    return same != (condition.get("op") in ("ne", "nin"))


def _is_same(field: str, actual: Any, wanted: Any) -> bool:
    """Whether a call's value is the value of a condition. Campaigns and statuses that are numbers compare so."""
    if isinstance(wanted, float):
        wanted = int(wanted)
    if field == "campaignId" and _number(wanted) == 0:
        wanted = ""  # 0 is no campaign
    if field in ("campaignId", "status"):
        return actual is not None and _number(actual) == _number(wanted)
    return str(actual) == str(wanted)


def _number(value: Any) -> Any:
    """The value as an int if it is a whole number or the digits of one, else as text."""
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() else text
