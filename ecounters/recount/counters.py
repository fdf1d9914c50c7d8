"""The recount's table of counters: which there are, and how sums over calls become their values in a message."""

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
GAUGES: Final = {"LCT", "RCMPID", "RC", "LIVR", "LDID"}
"""Counters of live calls."""
BALANCES: Final = {"cBl": "callBalance", "ucBl": "balance"}
"""Counter -> the field of balance.updated that it shows."""
SUMS: Final = {"RC": ("RCMPID",), "AC": ("CNC",), "FR_CAN_FR_PM_N": ("FR_CA_N", "FR_PM_N")}
"""Counter -> what it adds up: counters, or all entries of a map."""
SECONDS: Final = {"ringTime", "holdTime", "actualTT"}
"""Counters of times: added up in ms, shown in seconds."""
AVERAGES: Final = {
    "avgRingTime": ("ringTime", "rings"),
    "avgHoldTime": ("holdTime", "holds"),
    "avgTalkTime": ("actualTT", "talks"),
}
"""Counter -> (time in ms, divisor)."""
COUNTED: Final = {
    "GHC", "FWC", "TRSC", "MC", "TC", "repeatCall", "freshCall", "CHSR", "CNC", "UC", "CM", "PM", "CA", "GH_UC",
    "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CM_N", "FR_PM_N", "FR_CA_N", "FR_GH_N",
}  # fmt: skip
"""Plain counts."""
KEYS: Final = frozenset(MAPS | GAUGES | set(BALANCES) | set(SUMS) | SECONDS | set(AVERAGES) | COUNTED)
"""Every counter."""


def value_of(key: str, totals: Counter[str], balances: list[Event]) -> dict[str, int] | int | float:
    """The value of a counter in a message. Raises ValueError if there is no such counter.

    ``totals``: (counter or entry of a map) -> sum over the calls; ``balances``: the account's balance.updated events.
    """
    if key in BALANCES:
        known = [event for event in balances if BALANCES[key] in event]
        return _printed(max(known, key=lambda e: (e["ts"], e["id"]))[BALANCES[key]]) if known else 0
    if key in AVERAGES:
        time, number = AVERAGES[key]
        return _printed(round(totals[time] / totals[number] / 1000, 3)) if totals[number] else 0
    if key in SECONDS:
        return _printed(round(totals[key] / 1000, 3))
    if key in MAPS:
        return _map(key, totals)
    if key in SUMS:
        return sum(sum(_map(part, totals).values()) if part in MAPS else totals[part] for part in SUMS[key])
    if key not in COUNTED:
        raise ValueError(f"{key} is no counter")
    return totals[key]


def _map(key: str, totals: Counter[str]) -> dict[str, int]:
    """The entries of a map, without zeros: whole numbers first, by value; then the other keys by code points."""
    entries = {name.removeprefix(key + "/"): n for name, n in totals.items() if name.startswith(key + "/") and n}
    whole = [name for name in entries if re.fullmatch("-?[0-9]+", name)]
    order = sorted(whole, key=lambda name: (int(name), name)) + sorted(set(entries) - set(whole))
    return {name: entries[name] for name in order}


def _printed(number: int | float) -> int | float:
    """The number, as an int if it has no fraction."""
    return int(number) if number == int(number) else number
