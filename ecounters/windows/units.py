"""Units: the slots of a cell to which a call adds 1, each a bit flag, and all that a call adds to in one integer.

So a call's record keeps them in 4 bytes, and what a change of the call adds or takes back follows from two integers.
A flag has the name of its slot in capitals.
"""

from __future__ import annotations

from typing import Final

TC: Final = 1 << 0
FRESHCALL: Final = 1 << 1
REPEATCALL: Final = 1 << 2
TRSC: Final = 1 << 3
FWC: Final = 1 << 4
CNC: Final = 1 << 5
MC: Final = 1 << 6
GHC: Final = 1 << 7
CHSR: Final = 1 << 8
TALKS: Final = 1 << 9
HOLDS: Final = 1 << 10
UC: Final = 1 << 11
CA: Final = 1 << 12
CM: Final = 1 << 13
PM: Final = 1 << 14
GH_UC: Final = 1 << 15
FR_UC: Final = 1 << 16
FR_CA: Final = 1 << 17
FR_CM: Final = 1 << 18
FR_PM: Final = 1 << 19
FR_GH_UC: Final = 1 << 20

SLOTS: Final = (
    "TC", "freshCall", "repeatCall", "TRSC", "FWC", "CNC", "MC", "GHC", "CHSR", "talks", "holds",
    "UC", "CA", "CM", "PM", "GH_UC", "FR_UC", "FR_CA", "FR_CM", "FR_PM", "FR_GH_UC",
)  # fmt: skip
"""The slots in the order of their flags: at most 31, as ``Call.units`` has 32 bits."""

_SLOTS_OF: Final[dict[int, tuple[str, ...]]] = {}
_SLOTS_OF_MAX: Final = 65_536
"""The table is emptied when it has more entries than this. Only some thousand combinations are possible."""


def slots_of(units: int) -> tuple[str, ...]:
    """The slots whose flags are in ``units``."""
    slots = _SLOTS_OF.get(units)
    if slots is None:
        if len(_SLOTS_OF) > _SLOTS_OF_MAX:
            _SLOTS_OF.clear()
        slots = _SLOTS_OF[units] = tuple(slot for index, slot in enumerate(SLOTS) if units >> index & 1)
    return slots
