"""Hypothesis strategies for single events, valid and invalid."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ecounters.events.fields import FIELDS
from ecounters.events.types import TYPES
from tests.support.builders import T0_MS

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([0, "", "0", 1, "1", "12", 1.0, -1, 1001, 2**31, 10**130, "x" * 128, "x" * 129, "x" * 65, T0_MS])
)


values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


GOOD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.text(min_size=1, max_size=5),
    "userId": st.text(min_size=1, max_size=5),
    "callId": st.text(min_size=1, max_size=5),
    "switchId": st.sampled_from(["s1", "s2"]),
    "ts": st.integers(T0_MS - 10**9, T0_MS + 10**9),
    "callType": st.sampled_from(["IBD", "OBD", "NEW"]),
    "campaignId": st.integers(-2, 12) | st.sampled_from(["12", "-1", "x"]),
    "retry": st.integers(0, 3),
    "valid": st.booleans(),
    "status": st.integers(-3, 20),
    "balance": st.integers(-9, 9) | st.floats(-1e16, 1e16),
    "callBalance": st.integers(-9, 9) | st.floats(-1e16, 1e16),
    "callIds": st.lists(st.text(min_size=1, max_size=3), max_size=3),
}


@st.composite
def almost_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event with mostly valid fields; up to two fields hold any value, and an unknown field may be there."""
    kind = draw(st.sampled_from(list(TYPES)))
    made: dict[str, Any] = {"type": kind}
    declared = TYPES[kind]
    wild = draw(st.sets(st.sampled_from(["type", *FIELDS]), max_size=2))
    for name in ("id", "ts", "switchId", *declared.required, *declared.optional):
        if name in ("id", "ts", *declared.required) or draw(st.booleans()):
            made[name] = draw(GOOD.get(name, st.text(min_size=1, max_size=3)))
    for name in wild:
        made[name] = draw(values)
    if draw(st.integers(0, 4)) == 0:
        made[draw(st.text(max_size=4))] = draw(values)
    return made
