"""How error messages show a value that somebody sent."""

from __future__ import annotations

from typing import Final

import msgspec

SHOWN_MAX: Final = 60
"""The most characters of a value in a message."""


def shown(value: object) -> str:
    """The JSON text of a value for a message. A text of more than SHOWN_MAX characters is shortened and ends in "...".

    The content of an object or array is not shown: they are {...} and [...].
    """
    if type(value) is dict:
        return "{...}"
    if type(value) is list:
        return "[...]"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
