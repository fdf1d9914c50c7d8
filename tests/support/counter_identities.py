"""The identities between counters that hold in every reply."""

from __future__ import annotations

from typing import Any


def check_identities(told: dict[str, Any], *, everything: bool = False) -> None:
    """Assert the identities of a message with all Fields.

    ``everything``: whether the range holds every call that is live, which allows two identities more.
    """
    sums = {key: sum(value.values()) for key, value in told.items() if isinstance(value, dict)}
    for key, value in told.items():
        if isinstance(value, dict):
            assert all(number > 0 for number in value.values()), (key, value)
        elif key not in ("ucBl", "cBl"):
            assert value >= 0, (key, value)
    closed = told["CNC"] + told["MC"] + told["GHC"]
    assert told["TC"] == sums["CT"] >= closed
    assert told["TC"] >= told["repeatCall"] + told["freshCall"]
    assert told["TC"] >= sums["CST"]
    assert told["RC"] == sums["RCMPID"] <= sums["LCT"]
    assert max(sums["LIVR"], sums["LDID"]) <= sums["LCT"]
    assert max(sums["CMPID"], sums["DID"], told["FWC"], told["TRSC"], told["UC"]) <= told["TC"]
    assert told["AC"] == told["CNC"] and told["CHSR"] <= told["MC"]
    assert told["UC"] == told["CM"] + told["PM"] + told["CA"] + told["GH_UC"]
    assert told["FR_UC"] == told["FR_CM"] + told["FR_PM"] + told["FR_CA"] + told["FR_GH_UC"] <= told["UC"]
    assert told["CNC"] == told["CA"] + told["PM"]
    assert told["FR_UC_N"] >= told["FR_CM_N"] + told["FR_PM_N"] + told["FR_CA_N"]
    assert told["FR_UC_N"] >= told["FR_UC"] and told["FR_UC_N"] >= told["FR_GH_N"]
    assert told["FR_CAN_FR_PM_N"] == told["FR_CA_N"] + told["FR_PM_N"]
    assert sums["DTMF"] == sums["DTMFV"] + sums["DTMFINV"] >= sums["DTMFI"]
    if everything:
        assert told["TC"] == sums["CST"] + sums["LCT"]
        assert told["TC"] - closed <= sums["LCT"]
