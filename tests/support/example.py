"""The example in ``ecounters/counters/README.md``: its calls as events, and what each counter is of them.

Values are the domain's. Which calls are behind a value says the recount, which shares no code with the domain.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from ecounters.counters.definitions import COUNTERS
from ecounters.recount.counters import BALANCES
from ecounters.recount.recount import Recount
from tests.support.builders import ALL_FIELDS, T0_MS, Feed

USER: Final = "u1"
NOON_S: Final = 12 * 3600
ASKED_AT_MS: Final = T0_MS + 600_000
"""12:10."""

_LINE: Final = re.compile(r"(?P<call>\S) (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d) (?P<type>[a-z.]+)(?P<fields>( \w+=\S+)*)")


class Example(NamedTuple):
    """One counter of the example: its value, and the ids of the calls behind it."""

    value: Any
    calls: list[str]


def events_of(text: str) -> list[dict[str, Any]]:
    """The events in lines of "call hh:mm:ss type field=value ...", in the order of their time. ValueError if none."""
    events = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"no event: {line}")
        at_s = int(match["h"]) * 3600 + int(match["m"]) * 60 + int(match["s"]) - NOON_S
        fields = dict(field.split("=", 1) for field in match["fields"].split())
        event: dict[str, Any] = {"id": f"e{number}", "type": match["type"], "ts": T0_MS + at_s * 1000, "userId": USER}
        if match["call"] != "-":
            event["callId"] = match["call"]
        events.append(event | {name: False if value == "false" else value for name, value in fields.items()})
    if not events:
        raise ValueError("no events")
    return sorted(events, key=lambda event: event["ts"])


def counters_of(events: list[dict[str, Any]]) -> dict[str, Example]:
    """Every counter of these events at 12:10, by the domain, with the calls behind it, by the recount."""
    values = Feed().take(*events).answer()
    recount = Recount()
    recount.read((at, event["ts"], json.dumps(event).encode()) for at, event in enumerate(events))
    recounted = recount.answer(USER, T0_MS, ASKED_AT_MS, ALL_FIELDS)
    assert values == recounted, "the domain and the recount differ"
    assert not recount.refused
    keys = [key for key in COUNTERS if key not in BALANCES]
    calls = recount.calls_behind_each(USER, keys, T0_MS, ASKED_AT_MS)
    return {key: Example(values[key], calls.get(key, [])) for key in COUNTERS}
