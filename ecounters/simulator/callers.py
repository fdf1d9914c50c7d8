"""How switches write the number of a caller: in several spellings, or not at all.

All numbers are in the area code 555 of +1, which is not in use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

HIDDEN: Final = 0.05
"""Share of callers whose number is hidden. The switch then writes one of HIDDEN_AS, or sends no number."""
HIDDEN_AS: Final = (
    None, None, None, "anonymous", "Anonymous", "Restricted", "unknown", "private", "Unavailable", "withheld",
    "BLOCKED", "", "sip:anonymous@anonymous.invalid",
)  # fmt: skip
"""What a switch writes for a hidden number, each as often as the others. None: the event has no field ``number``."""

SPELLED: Final = 0.3
"""Share of the other calls whose number is written in one of SPELLINGS. All others have E.164, as +15551234567."""
SPELLINGS: Final = (
    "00{}{}{}{}", "+{} {} {} {}", "+{}-{}-{}-{}", "+{} ({}) {}-{}", "+{}.{}.{}.{}", "tel:+{}{}{}{}",
    "TEL:+{}-{}-{}-{};phone-context=example.invalid", "sip:+{}{}{}{}@pbx.example.invalid;user=phone",
    "sips:00{}{}{}{}@pbx.example.invalid",
)  # fmt: skip
"""Other spellings of one number: the places are for the country, the area, and two parts of the number in it."""


def number_field(random: Callable[[], float], number: int) -> str:
    """The JSON field ``number`` of a call.started, with a comma before it; "" if the switch does not send it.

    ``random``: returns numbers of [0, 1). ``number``: the caller's, as 15551234567.
    """
    chance = random()
    if chance < HIDDEN:
        written = HIDDEN_AS[int(chance / HIDDEN * len(HIDDEN_AS))]
        return "" if written is None else f',"number":"{written}"'
    if chance < HIDDEN + SPELLED:
        digits = str(number)
        spelling = SPELLINGS[int((chance - HIDDEN) / SPELLED * len(SPELLINGS))]
        return f',"number":"{spelling.format(digits[0], digits[1:4], digits[4:7], digits[7:])}"'
    return f',"number":"+{number}"'
