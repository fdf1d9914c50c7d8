"""Text for people."""

from __future__ import annotations

import codecs
import os
import re
import sys
from pathlib import Path
from typing import Final

NO_CONNECTION: Final = "no connection can be made"
"""What ``why_failed`` says of a server that does not run or cannot be reached."""
_AIOHTTP_TLS: Final = re.compile(r" ssl:(default|True|False|None|<[^>]*>)")
"""What aiohttp says of TLS behind an address, whether the server has TLS or not."""


def one_line(error: BaseException) -> str:
    """An error's message on one line, with single blanks for white space; the name of its class if there is none."""
    return " ".join(str(error).split()) or type(error).__name__


def why_failed(error: BaseException) -> str:
    """``one_line`` of an error of a client. Where no connection was made, it begins with NO_CONNECTION.

    The libraries show the addresses that they have tried as tuples of Python. Messages name the server anyway.
    """
    text = one_line(error)
    if "Unable to bootstrap from" in text:  # aiokafka's; it does not say why
        return NO_CONNECTION
    if "Connect call failed" not in text:  # asyncio's
        return _AIOHTTP_TLS.sub("", text)
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"Err(?:or|no) (\d+)", text)):
        number = int(found[1])
    return NO_CONNECTION if number is None else f"{NO_CONNECTION} ({os.strerror(number).lower()})"


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
