"""Text for people."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """An error's message on one line, its white space made single blanks; the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
