"""COUNTERS: the documented counters, in the vendor's order, and what they are while there is nothing to count."""

from __future__ import annotations

from typing import Any

from ecounters.counters.definitions import COUNTERS, FIELDS, PAYLOAD
from tests.support.builders import Feed

DEFAULT: dict[str, Any] = {
    "LCT": {}, "RCMPID": {}, "RC": 0, "LIVR": {}, "LDID": {}, "cBl": 0, "CT": {}, "CST": {}, "CMPID": {}, "DID": {},
    "DTMF": {}, "DTMFV": {}, "DTMFI": {}, "DTMFINV": {}, "GHC": 0, "FWC": 0, "TRSC": 0, "MC": 0, "ucBl": 0, "TC": 0,
    "repeatCall": 0, "freshCall": 0, "CHSR": 0, "CNC": 0,
}  # fmt: skip
"""The payload's keys, in order, and what they are while there is nothing to count."""

OF_FIELD = (
    "UC", "AC", "CM", "PM", "CA", "GH_UC", "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CM_N",
    "FR_PM_N", "FR_CA_N", "FR_GH_N", "FR_CAN_FR_PM_N", "ringTime", "holdTime", "actualTT", "avgRingTime",
    "avgHoldTime", "avgTalkTime",
)  # fmt: skip


def test_the_counters_are_the_documented_ones_in_their_order() -> None:
    """The payload's order is the vendor's; TC and MC may be asked for though they are there."""
    assert [counter.key for counter in PAYLOAD] == list(DEFAULT)
    assert set(OF_FIELD) | {"TC", "MC"} == FIELDS
    assert set(COUNTERS) == set(DEFAULT) | set(OF_FIELD)


def test_nothing_is_zero_everywhere() -> None:
    """Scalars are always there, maps are {}, an average of nothing is 0."""
    assert Feed().answer() == DEFAULT | dict.fromkeys(OF_FIELD, 0)
