"""What becomes of two texts before anything is counted: the customer's number, and the digits of a DTMF input."""

from __future__ import annotations

import re

DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
HIDDEN = {"", "anonymous", "unknown", "restricted", "private", "unavailable", "withheld", "blocked"}
"""What stands in place of the number of a caller who shows none, in small letters."""


def spelled(number: str) -> str:
    """A telephone number in its one spelling; "" for a caller who shows none.

    Of a SIP or tel URI it is the part before the first "@" or ";". White space, dots, dashes and brackets go, "00" at
    the front becomes "+".
    """
    rest = number.strip()
    for scheme in ("sip:", "sips:", "tel:"):
        if rest.lower().startswith(scheme):
            rest = rest[len(scheme) :]
            break
    rest = re.split("[@;]", rest, maxsplit=1)[0]
    rest = "".join(char for char in rest if not char.isspace() and char not in ".()[]{}" + DASHES)
    if rest.startswith("00"):
        rest = "+" + rest[2:]
    return "" if rest.removeprefix("+").lower() in HIDDEN else rest


def shown(digits: str, most: int) -> str:
    """The digits of a DTMF input or, if they are more than ``most`` characters, how many they are.

    Short inputs are choices in a menu. Long ones are account numbers, PINs and cards, which nothing may keep.
    """
    return digits if len(digits) <= most else f"{len(digits)} digits"
