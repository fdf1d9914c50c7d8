"""The id of a request: taken from ``X-Request-Id`` or made, given back, logged, and handed to another worker."""

from __future__ import annotations

import re
import secrets
from typing import Final

from aiohttp import web

ID_HEADER: Final = "X-Request-Id"
_HARMLESS: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9._:=+/@-]{1,128}")
"""An id that is taken. One of digits alone could be a telephone number, which no log may have."""


def id_of(request: web.BaseRequest) -> str:
    """The id that a request came with, if it came with one and that is harmless; else a new one."""
    given = request.headers.getall(ID_HEADER, [])
    return given[0] if len(given) == 1 and _HARMLESS.fullmatch(given[0]) else new_id()


def new_id() -> str:
    """A new id: 16 hexadecimal digits after "r", so that it is never one of digits alone."""
    return "r" + secrets.token_hex(8)
