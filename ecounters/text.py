"""Text of error messages: how a value that somebody sent is shown in one."""

from __future__ import annotations

from typing import Final

import msgspec

SHOWN_MAX: Final = 60
"""The most characters of a value in a message."""


def shown(value: object) -> str:
    """A JSON value for a message, at most SHOWN_MAX characters long: its JSON text, with "..." where it was cut.

    An object is shown as {...} and an array as [...], however deep they are.
    """
    if type(value) is dict:
        return "{...}"
    if type(value) is list:
        return "[...]"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
