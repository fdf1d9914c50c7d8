"""Text for people."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """An error's message on one line, with single blanks for all white space. If it is empty, the name of its class."""
    return " ".join(str(error).split()) or type(error).__name__
