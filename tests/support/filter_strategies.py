"""A hypothesis strategy for valid filters over the calls of tests/support/log_strategies.py."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "callType": ("IBD", "OBD", "CTC", "QC"),
    "campaignId": ("", 0, "0", 7, "7", 7.0, "007", -1, "-1", "spring", "autumn"),
    "did": ("", "1800", 1800, 1801, 1801.0, "01800"),
    "status": (16, "16", 16.0, 3, 0, "-0", -1, "-2", -3, 99),
}


@st.composite
def _leaf(draw: st.DrawFn) -> dict[str, Any]:
    field = draw(st.sampled_from(sorted(VALUES)))
    op = draw(st.sampled_from((None, "eq", "ne", "in", "nin")))
    values = st.sampled_from(VALUES[field])
    several = op in ("in", "nin") or (op is None and draw(st.booleans()))
    value = draw(st.lists(values, min_size=1, max_size=3) if several else values)
    return {"field": field, "value": value} | ({"op": op} if op is not None else {})


conditions: Final = st.recursive(
    _leaf(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)
"""A condition, alone or made of others with and, or, not."""


def size(condition: dict[str, Any]) -> int:
    """The number of conditions in a condition, itself included."""
    inside = condition.get("and", condition.get("or", [condition["not"]] if "not" in condition else []))
    return 1 + sum(size(one) for one in inside)


def depth(condition: dict[str, Any]) -> int:
    """The number of and, or, not around the innermost condition."""
    inside = condition.get("and", condition.get("or", [condition["not"]] if "not" in condition else []))
    return 1 + max(depth(one) for one in inside) if inside else 0


filters: Final = st.lists(conditions, min_size=1, max_size=2).filter(
    lambda found: sum(map(size, found)) <= 32 and max(map(depth, found)) <= 8
)
"""A valid ``filter`` of a request: at most 32 conditions, at most 8 deep."""
