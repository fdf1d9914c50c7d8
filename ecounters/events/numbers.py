"""The telephone number that an event names: many spellings of a number are one number, and hidden callers have none."""

from __future__ import annotations

import re
from typing import Final

from ecounters.events.types import TEXT_MAX

_SCHEMES: Final = ("tel:", "sip:", "sips:")
_FILLERS: Final = re.compile(r"[\s.()\[\]{}\-\u2010-\u2015\u2212]+")
"""White space, dots, brackets and dashes: they stand between the digits for people."""
HIDDEN: Final = frozenset(("", "anonymous", "unknown", "restricted", "private", "unavailable", "withheld", "blocked"))
"""What switches send in place of a number that the caller hides, in lower case."""


def number_of(text: str) -> str:
    """The number in the field ``number`` of an event; "" if the caller is hidden or the text has no number.

    Of a SIP or tel URI, the part before the first "@" or ";" counts. Fillers go, and "00" at the front becomes "+":
    "tel:+44-20-7946-0018", "0044 20 7946 0018" and "sip:+442079460018@pbx.example;user=phone" are one number. The
    result has at most TEXT_MAX characters.
    """
    number = text.removeprefix("tel:")
    digits = number.removeprefix("+")
    if digits.isdigit() and digits.isascii() and digits[0] != "0" and len(digits) < TEXT_MAX:
        return number  # as nearly always; what follows would give the same
    text = _behind_scheme(text.strip())
    text = text.split("@", 1)[0].split(";", 1)[0]
    # The common fillers go without the regular expression: it takes longer than all else here.
    text = text.replace(" ", "").replace("-", "").replace("(", "").replace(")", "").replace(".", "")
    if not (text.isascii() and text.removeprefix("+").isalnum()):
        text = _FILLERS.sub("", text)
    if text.startswith("00"):
        text = "+" + text[2:]
    return "" if text.removeprefix("+").lower() in HIDDEN else text[:TEXT_MAX]


def _behind_scheme(text: str) -> str:
    """The text without the scheme of a SIP or tel URI, if it begins with one."""
    if ":" in text[:5]:
        beginning = text[:5].lower()
        for scheme in _SCHEMES:
            if beginning.startswith(scheme):
                return text[len(scheme) :]
    return text
