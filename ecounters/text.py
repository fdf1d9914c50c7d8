"""How error messages show a value that somebody sent."""

from __future__ import annotations

import re
from typing import Final

import msgspec

SHOWN_MAX: Final = 60
"""The most characters of a value in a message."""
_DIGITS: Final = re.compile(r"\d{5,}")
"""What may be a telephone number."""


def shown(value: object) -> str:
    """The JSON text of a value for a message. A text of more than SHOWN_MAX characters is shortened and ends in "...".

    The content of an object or array is not shown: they are {...} and [...]. Half of a surrogate pair, as in an
    argument that is not UTF-8, becomes an escape.
    """
    if type(value) is dict:
        return "{...}"
    if type(value) is list:
        return "[...]"
    if isinstance(value, str):
        value = value.encode(errors="backslashreplace").decode()
    return _shortened(msgspec.json.encode(value).decode())


def masked(text: str) -> str:
    """A text for a message, shortened as ``shown`` does. Of what may be a telephone number only two digits are left."""
    return _shortened(_DIGITS.sub(lambda digits: digits[0][:2] + "*" * (len(digits[0]) - 2), text))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
