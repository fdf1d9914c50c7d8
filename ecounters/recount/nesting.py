"""How arrays and objects of a JSON text are nested."""

from __future__ import annotations

DEPTH_MAX = 200
"""The deepest nesting that an event may have. The contract says the same of events."""


def nesting(text: str) -> tuple[int, int]:
    """(how many arrays and objects begin in a JSON text, how deep they are nested). Brackets in strings are none."""
    begun = deepest = depth = 0
    in_string = False
    at = 0
    while at < len(text):
        char = text[at]
        if char == '"':
            in_string = not in_string
        elif char == "\\":
            at += 1  # it stands in a string, and what follows it ends none
        elif not in_string and char in "[{":
            begun += 1
            depth += 1
            deepest = max(deepest, depth)
        elif not in_string and char in "]}":
            depth -= 1
        at += 1
    return begun, deepest
