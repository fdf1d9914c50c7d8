"""The recount's own judgement whether the filter of a request matches a call.

It interprets the JSON of the filter anew for each call. A condition on the date always holds here: it can stand only
beside the other conditions, not inside of "not", and the caller gives its dates to ``Recount.answer`` as a range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Dims = Mapping[str, Any]
"""The dimensions of a call: name -> value of callType, campaignId, did (each "" for none) and status (None: no end)."""


def dims_of(adds: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """The dimensions of a call read back from what ``call.counts`` gave for it."""
    entries = dict(name.split("/", 1) for name, _ in adds if "/" in name and not name.startswith("DTMF"))
    return {
        "callType": entries.get("CT", ""),
        "campaignId": entries.get("CMPID", ""),
        "did": entries.get("DID", ""),
        "status": entries.get("CST"),
    }


def matches(conditions: Sequence[Mapping[str, Any]], dims: Dims) -> bool:
    """Whether all conditions hold for the dimensions. The conditions must be valid: nothing is checked here."""
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
    """Whether a call's value equals a condition's. Campaigns and statuses that are whole numbers compare as numbers.

    A call without an end has no status, so it equals none.
    """
    if isinstance(wanted, float):
        wanted = int(wanted)
    if field == "campaignId" and _number(wanted) == 0:
        wanted = ""  # 0 is no campaign
    if field in ("campaignId", "status"):
        return actual is not None and _number(actual) == _number(wanted)
    return str(actual) == str(wanted)


def _number(value: Any) -> Any:
    """The value as an int if its text is a whole number in ASCII digits, else its text."""
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() else text
