"""The recount's table of counters: which counters there are, and how sums over calls become values in a message."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from ecounters.recount.parse import Event

PAYLOAD: Final = (
    "LCT", "RCMPID", "RC", "LIVR", "LDID", "cBl", "CT", "CST", "CMPID", "DID", "DTMF", "DTMFV", "DTMFI", "DTMFINV",
    "GHC", "FWC", "TRSC", "MC", "ucBl", "TC", "repeatCall", "freshCall", "CHSR", "CNC",
)  # fmt: skip
"""The counters that every message has, in their order."""
MAPS: Final = {
    "LCT", "RCMPID", "LIVR", "LDID", "CT", "CST", "CMPID", "DID", "DTMF", "DTMFV", "DTMFI", "DTMFINV",
}  # fmt: skip
"""Counters whose value is a map: entry -> count."""
GAUGES: Final = {"LCT", "RCMPID", "RC", "LIVR", "LDID"}
"""Counters of live calls: they show the present, whatever the range of the request."""
BALANCES: Final = {"cBl": "callBalance", "ucBl": "balance"}
"""Counter -> the field of balance.updated that it shows."""
SUMS: Final = {"RC": ("RCMPID",), "AC": ("CNC",), "FR_CAN_FR_PM_N": ("FR_CA_N", "FR_PM_N")}
"""Counter -> the names that it adds up. A map among them adds all its entries."""
SECONDS: Final = {"ringTime", "holdTime", "actualTT"}
"""Counters of times. They are added up in ms and shown in seconds."""
AVERAGES: Final = {
    "avgRingTime": ("ringTime", "rings"),
    "avgHoldTime": ("holdTime", "holds"),
    "avgTalkTime": ("actualTT", "talks"),
}
"""Counter -> (the counter of its time in ms, its divisor). ``call.counts`` yields both."""
COUNTED: Final = {
    "GHC", "FWC", "TRSC", "MC", "TC", "repeatCall", "freshCall", "CHSR", "CNC", "UC", "CM", "PM", "CA", "GH_UC",
    "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CM_N", "FR_PM_N", "FR_CA_N", "FR_GH_N",
}  # fmt: skip
"""Counters whose value is the sum over calls as it is."""
KEYS: Final = frozenset(MAPS | GAUGES | set(BALANCES) | set(SUMS) | SECONDS | set(AVERAGES) | COUNTED)
"""Every counter."""


def value_of(key: str, totals: Counter[str], balances: list[Event]) -> dict[str, int] | int | float:
    """The value of a counter in a message. Raises ValueError if there is no such counter.

    ``totals``: name that ``call.counts`` or ``live_counts`` yields -> sum over the calls. ``balances``: the account's
    balance.updated events. Of each balance the event with the largest (ts, id) counts; the value is 0 before the first.
    Times and averages are seconds, rounded to ms; an average of nothing is 0.
    """
    if key in BALANCES:
        known = [event for event in balances if BALANCES[key] in event]
        return _printed(max(known, key=lambda e: (e["ts"], e["id"]))[BALANCES[key]]) if known else 0
    if key in AVERAGES:
        time, divisor = AVERAGES[key]
        return _printed(round(totals[time] / totals[divisor] / 1000, 3)) if totals[divisor] else 0
    if key in SECONDS:
        return _printed(round(totals[key] / 1000, 3))
    if key in MAPS:
        return _map(key, totals)
    if key in SUMS:
        return sum(sum(_map(name, totals).values()) if name in MAPS else totals[name] for name in SUMS[key])
    if key not in COUNTED:
        raise ValueError(f"{key} is no counter")
    return totals[key]


def _map(key: str, totals: Counter[str]) -> dict[str, int]:
    """The entries of a map that are not 0. Whole numbers come first, by value; then the other keys by code points."""
    entries = {name.removeprefix(key + "/"): n for name, n in totals.items() if name.startswith(key + "/") and n}
    whole = [name for name in entries if re.fullmatch("-?[0-9]+", name)]
    order = sorted(whole, key=lambda name: (int(name), name)) + sorted(set(entries) - set(whole))
    return {name: entries[name] for name in order}


def _printed(value: int | float) -> int | float:
    """The value, as an int if it has no fraction: so JSON shows 3 instead of 3.0."""
    return int(value) if value == int(value) else value
