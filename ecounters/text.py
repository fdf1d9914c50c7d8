"""Text for people: a value as it may stand in a message."""

from __future__ import annotations

import msgspec


def shown(value: object) -> str:
    """What was given (of what JSON can hold), short enough for a message."""
    if type(value) in (dict, list):
        return "{...}" if type(value) is dict else "[...]"  # of whatever depth
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
