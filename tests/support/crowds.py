"""Calls with many legs, inputs, holds or IVR entries: around the bound of ``small_structures``."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.support.builders import T0_MS, Event
from tests.support.log_strategies import made_event
from tests.support.small_structures import FEW

crowds = st.lists(
    st.tuples(st.sampled_from(("leg.dialed", "call.held", "ivr.entered", "dtmf.received")), st.integers(1, 20)),
    min_size=1, max_size=8,
)  # fmt: skip


def crowd(drawn: list[tuple[str, int]], shuffle: Random) -> list[Event]:
    """Many events of few kinds, in any order, with duplicates."""
    events: list[Event] = []
    for kind, count in drawn:
        for n in range(count):
            second = {"call.held": "call.resumed", "ivr.entered": "ivr.left"}.get(kind, kind)
            made = made_event(second if n % 2 else kind, 0, 0, T0_MS + len(events) % 7, n * 7919, f"{n}")
            events.append({**made, "legId": f"{n}"} if kind == "leg.dialed" else made)
    shuffle.shuffle(events)
    return [*events, *events[::4]]


def is_too_large(events: list[Event]) -> bool:
    """Whether a call with these events has more than FEW legs, inputs, holds or IVR entries."""
    names: dict[str, set[Any]] = {}
    for one in events:
        kind = one["type"].split(".")[0]
        entry = one["ts"], one["id"], one["type"], str(one.get("ivrId"))
        names.setdefault(kind, set()).add({"leg": one.get("legId"), "dtmf": one["id"]}.get(kind, entry))
    return max(map(len, names.values())) > FEW
