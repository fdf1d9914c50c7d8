"""What a request's filter says of one call, read from its JSON each time anew: the date aside, does the call count?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Dims = Mapping[str, Any]
"""callType, campaignId ("" for none), did ("" for none) and status (None while the call lives)."""


def matches(conditions: Sequence[Mapping[str, Any]], dims: Dims) -> bool:
    """Whether all conditions but those on the date hold; they must be valid."""
    return all(_holds(condition, dims) for condition in conditions)


def _holds(condition: Mapping[str, Any], dims: Dims) -> bool:
    if "and" in condition:
        return matches(condition["and"], dims)
    if "or" in condition:
        return any(_holds(one, dims) for one in condition["or"])
    if "not" in condition:
        return not _holds(condition["not"], dims)
    field, value = condition["field"], condition["value"]
    if field == "date":
        return True
    found = dims[field]
    wanted = value if isinstance(value, list) else [value]
    same = any(_is_same(field, found, one) for one in wanted)
    return same != (condition.get("op") in ("ne", "nin"))


def _is_same(field: str, found: Any, wanted: Any) -> bool:
    """Whether a value of a call is the one of a condition. Campaigns and statuses that are numbers are compared so."""
    if isinstance(wanted, float):
        wanted = int(wanted)
    if field == "campaignId" and _number(wanted) == 0:
        wanted = ""  # 0 is no campaign
    if field in ("campaignId", "status"):
        return found is not None and _number(found) == _number(wanted)
    return str(found) == str(wanted)


def _number(value: Any) -> Any:
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() else text
