"""The table of counters: the key, kind and definition of each.

To add a counter, add its row to ``COUNTERS``, add what a call adds to it to ``contributions`` and, written anew, to
``recount``, and raise ``changelog.entries.FORMAT``: cells that were saved before lack the counter. CONTRIBUTING.md has
all steps. The tables of the README and the texts of the OpenAPI document are generated from the rows.

A row does not say where a counter's value is stored. Most are sums of slots of cells, see ``contributions``. The maps
by type, campaign, DID and status have no slots of their own: there is a cell for each combination of these four, and
the map follows from the "TC" of the cells. Live calls and balances are not in cells, but in ``User``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """How a counter's value is computed and printed: one function for each Kind in ``reports.payload``.

    The README's tables show the texts.
    """

    LIVE_MAP = "map of live calls"
    LIVE_SUM = "number of live calls"
    CALL_MAP = "map of calls by a dimension"
    INPUT_MAP = "map of inputs"
    COUNT = "number"
    SUM = "sum of other counters"
    SECONDS = "seconds"
    AVERAGE = "seconds on average"
    BALANCE = "amount"


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter.

    key         its name in a reply
    definition  what it counts, as the README and the OpenAPI document say it
    source      LIVE_MAP, CALL_MAP: the dimension. LIVE_SUM: the dimension of the map that it sums up. SUM: the counters
                that it adds up. AVERAGE: the slots (ms, count). BALANCE: the field of balance.updated. Empty for the
                other kinds: the key is the slot or, of INPUT_MAP, begins the slots
    in_payload  True: every reply has it, but a series has no live calls and balances. False: only a reply to a request
                whose ``Field`` names it
    """

    key: str
    kind: Kind
    definition: str
    source: tuple[str, ...] = ()
    in_payload: bool = False


def _payload(key: str, kind: Kind, definition: str, *source: str) -> Counter:
    return Counter(key, kind, definition, source, in_payload=True)


COUNTERS: Final[dict[str, Counter]] = {
    c.key: c
    for c in (
        _payload("LCT", Kind.LIVE_MAP, "live calls (started, not ended) by type", "type"),
        _payload("RCMPID", Kind.LIVE_MAP, "live calls by campaign, for calls that have one", "campaign"),
        _payload("RC", Kind.LIVE_SUM, "live calls of all campaigns: the sum of RCMPID", "campaign"),
        _payload("LIVR", Kind.LIVE_MAP, "live calls that are in an IVR, by IVR", "ivr"),
        _payload("LDID", Kind.LIVE_MAP, "live calls by DID", "did"),
        _payload("cBl", Kind.BALANCE, "the last `callBalance`, 0 before one", "callBalance"),
        _payload("CT", Kind.CALL_MAP, "calls by type", "type"),
        _payload("CST", Kind.CALL_MAP, "ended calls by status", "status"),
        _payload("CMPID", Kind.CALL_MAP, "calls by campaign", "campaign"),
        _payload("DID", Kind.CALL_MAP, "calls by DID", "did"),
        _payload("DTMF", Kind.INPUT_MAP, "DTMF inputs by what was pressed; long ones by how many characters"),
        _payload("DTMFV", Kind.INPUT_MAP, "of these, the valid ones"),
        _payload("DTMFI", Kind.INPUT_MAP, "DTMF inputs by the IVR that they were made in"),
        _payload("DTMFINV", Kind.INPUT_MAP, "the invalid DTMF inputs by what was pressed"),
        _payload("GHC", Kind.COUNT, "ghost calls: ended, not answered, no leg rang, never in an IVR"),
        _payload("FWC", Kind.COUNT, "calls forwarded at least once"),
        _payload("TRSC", Kind.COUNT, "calls transferred at least once"),
        _payload("MC", Kind.COUNT, "missed calls: ended, not answered, not ghost"),
        _payload("ucBl", Kind.BALANCE, "the last `balance`, 0 before one", "balance"),
        _payload("TC", Kind.COUNT, "calls"),
        _payload("repeatCall", Kind.COUNT, "calls within 24 h, before or after, of their number's last known start"),
        _payload("freshCall", Kind.COUNT, "the other calls with a number"),
        _payload("CHSR", Kind.COUNT, "calls hung up by the caller 0 to less than 5 s after the first ring, unanswered"),
        _payload("CNC", Kind.COUNT, "answered calls"),
        Counter("UC", Kind.COUNT, "calls with at least one leg that is not open"),
        Counter("AC", Kind.SUM, "answered calls (= CNC)", ("CNC",)),
        Counter("CM", Kind.COUNT, "calls in UC whose non-ghost legs that are not open were all missed"),
        Counter("PM", Kind.COUNT, "calls in UC whose non-ghost legs that are not open were some missed, some answered"),
        Counter("CA", Kind.COUNT, "calls in UC whose non-ghost legs that are not open were all answered"),
        Counter("GH_UC", Kind.COUNT, "calls in UC whose legs that are not open are all ghost"),
        Counter("FR_UC", Kind.COUNT, "calls with at least one retry leg (retry > 0) that is not open"),
        Counter("FR_CM", Kind.COUNT, "as CM, looking at the retry legs only"),
        Counter("FR_PM", Kind.COUNT, "as PM, looking at the retry legs only"),
        Counter("FR_CA", Kind.COUNT, "as CA, looking at the retry legs only"),
        Counter("FR_GH_UC", Kind.COUNT, "as GH_UC, looking at the retry legs only"),
        Counter("FR_UC_N", Kind.COUNT, "retry legs that are not open, of all calls"),
        Counter("FR_CM_N", Kind.COUNT, "retry legs that are not open, of the calls in FR_CM"),
        Counter("FR_PM_N", Kind.COUNT, "retry legs that are not open, of the calls in FR_PM"),
        Counter("FR_CA_N", Kind.COUNT, "retry legs that are not open, of the calls in FR_CA"),
        Counter("FR_GH_N", Kind.COUNT, "retry legs that are ghost"),
        Counter("FR_CAN_FR_PM_N", Kind.SUM, "FR_CA_N + FR_PM_N", ("FR_CA_N", "FR_PM_N")),
        Counter("ringTime", Kind.SECONDS, "seconds that legs rang: from ringing to answered or, unanswered, to ended"),
        Counter("holdTime", Kind.SECONDS, "seconds on hold, of closed intervals, up to the call's end"),
        Counter(
            "actualTT", Kind.SECONDS, "seconds talked: from the first answer to the end, less the holdTime in between"
        ),
        Counter("avgRingTime", Kind.AVERAGE, "ringTime / legs that it counts", ("ringTime", "rings")),
        Counter("avgHoldTime", Kind.AVERAGE, "holdTime / calls with a closed hold", ("holdTime", "holds")),
        Counter("avgTalkTime", Kind.AVERAGE, "actualTT / calls that it counts", ("actualTT", "talks")),
    )
}

PAYLOAD: Final = tuple(c for c in COUNTERS.values() if c.in_payload)
"""The counters with ``in_payload``, in the documented order of a reply's keys."""

FIELDS: Final = frozenset(c.key for c in COUNTERS.values() if not c.in_payload) | {"TC", "MC"}
"""What ``Field`` of a request may name. TC and MC may be named although they are in every reply."""
