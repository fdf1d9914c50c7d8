"""Text for people."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """An error's message on one line, with single blanks for white space; the name of its class if there is none."""
    return " ".join(str(error).split()) or type(error).__name__


def named(error: BaseException) -> str:
    """The name of an error's class, and its message on the same line if it has one."""
    return " ".join([type(error).__name__, *str(error).split()])
