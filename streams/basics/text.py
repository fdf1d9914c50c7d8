"""Text for people."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path


def one_line(error: BaseException) -> str:
    """An error's message on one line, with single blanks for white space; the name of its class if there is none."""
    return " ".join(str(error).split()) or type(error).__name__


def named(error: BaseException) -> str:
    """The name of an error's class, and its message on the same line if it has one."""
    return " ".join([type(error).__name__, *str(error).split()])


def shown_path(text: str) -> str:
    """A path for an error message. What is no path is not shown: it may be the secret that the file should hold."""
    return text if is_path(text) else "what it names"


def is_path(text: str) -> bool:
    """Whether a text is a path: an absolute one, one of something that exists, or one in a folder that exists."""
    try:
        return text.startswith("/") or Path(text).exists() or ("/" in text and Path(text).parent.exists())
    except OSError:  # it is too long
        return False


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: it has no bytes of the command line that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(data: bytes | str, *, truncated: bool = False) -> str:
    """Bytes or a text of unknown origin as one line that cannot control a terminal.

    What is no UTF-8, not printable or not in the encoding of stdout becomes an escape. ``truncated``: the bytes are the
    beginning of a text, so that an incomplete last character is left out.
    """
    if isinstance(data, bytes):
        data = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(data, final=not truncated)
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in data
    )
    encoding = sys.stdout.encoding or "utf-8"
    return escaped.encode(encoding, "backslashreplace").decode(encoding)
