"""Text for people: what an error says, on one line."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """What an error says, on one line; the name of its class if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
