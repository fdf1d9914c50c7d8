"""The identities between counters that hold in every reply."""

from __future__ import annotations

from typing import Any


def check_identities(message: dict[str, Any], *, everything: bool = False) -> None:
    """Assert the identities of a message with all Fields.

    ``everything``: whether the range holds every call that is live, which allows two identities more.
    """
    sums = {key: sum(value.values()) for key, value in message.items() if isinstance(value, dict)}
    for key, value in message.items():
        if isinstance(value, dict):
            assert all(number > 0 for number in value.values()), (key, value)
        elif key not in ("ucBl", "cBl"):
            assert value >= 0, (key, value)
    closed = message["CNC"] + message["MC"] + message["GHC"]
    assert message["TC"] == sums["CT"] >= closed
    assert message["TC"] >= message["repeatCall"] + message["freshCall"]
    assert message["TC"] >= sums["CST"]
    assert message["RC"] == sums["RCMPID"] <= sums["LCT"]
    assert max(sums["LIVR"], sums["LDID"]) <= sums["LCT"]
    assert max(sums["CMPID"], sums["DID"], message["FWC"], message["TRSC"], message["UC"]) <= message["TC"]
    assert message["AC"] == message["CNC"] and message["CHSR"] <= message["MC"]
    assert message["UC"] == message["CM"] + message["PM"] + message["CA"] + message["GH_UC"]
    assert (
        message["FR_UC"]
        == message["FR_CM"] + message["FR_PM"] + message["FR_CA"] + message["FR_GH_UC"]
        <= message["UC"]
    )
    assert message["CNC"] == message["CA"] + message["PM"]
    assert message["FR_UC_N"] >= message["FR_CM_N"] + message["FR_PM_N"] + message["FR_CA_N"]
    assert message["FR_UC_N"] >= message["FR_UC"] and message["FR_UC_N"] >= message["FR_GH_N"]
    assert message["FR_CAN_FR_PM_N"] == message["FR_CA_N"] + message["FR_PM_N"]
    assert sums["DTMF"] == sums["DTMFV"] + sums["DTMFINV"] >= sums["DTMFI"]
    if everything:
        assert message["TC"] == sums["CST"] + sums["LCT"]
        assert message["TC"] - closed <= sums["LCT"]
