"""Text for people."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """An error's message on one line, with single blanks for white space; the name of its class if there is none."""
    return " ".join(str(error).split()) or type(error).__name__
