"""Parsers of settings. A parser takes a variable's text and returns its value, or raises ValueError.

``whole`` and ``matching`` make parsers; all other functions are parsers. The text of a ValueError says what the value
must be, in words that follow "it": ``must be host:port``. A new kind of setting needs a parser here; a new setting of a
known kind needs only a row in ``streams.settings.table``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from streams.settings.redis_urls import MUST, is_sentinel, sentinel_url

NAMES_MAX: Final = 1_000
"""So many accounts can be named that have metrics of their own."""

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

Parser = Callable[[str], Any]
"""Takes the text of an environment variable and returns its value. Raises ValueError if the text is not valid."""


def whole(least: int, most: int) -> Parser:
    """Make a parser of whole numbers from ``least`` to ``most``, both included, written in at most 18 ASCII digits."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def matching(pattern: str, must: str) -> Parser:
    """Make a parser of texts that match ``pattern`` as a whole; ``must`` is the error's text."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(must)
        return text

    return parse


def one_of(*values: str) -> Parser:
    """Make a parser of these texts, which returns the text as it stands there. Case does not matter."""
    known = {value.upper(): value for value in values}

    def parse(text: str) -> str:
        if text.upper() not in known:
            raise ValueError(f"must be one of {', '.join(filter(None, values))}")
        return known[text.upper()]

    return parse


topic_name = matching(
    r"[A-Za-z0-9._-]{1,200}", "must be 1 to 200 letters, digits, '.', '_' or '-' (a Kafka topic's name)"
)
kafka_protocol = one_of("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
kafka_mechanism = one_of("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
printable = matching(r"[^\x00-\x1f\x7f]{0,4096}", "must be one line of text")
optional_path = matching(r"[^\x00-\x1f\x7f]{0,4096}", "must be the path of a file")
optional_name = matching(r"[A-Za-z0-9._-]{0,200}", "must be up to 200 letters, digits, '.', '_' or '-'")
path_prefix = matching(
    r"|(?!.{101}|/(?i:api|internal|dashboard|docs)(/|$))(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+",
    "must be a path such as /counters: of letters, digits, '_', '-' and '.', up to 100 characters, no slash at its "
    "end; not below /api, /internal, /dashboard or /docs, which are the worker's own",
)
log_format = matching(r"text|json", "must be text or json")
secret = matching(r"|[!-~]{16,512}", "must be 16 to 512 characters, all of them ASCII and none a space")
host = matching(r"[A-Za-z0-9._:-]+", "must be a host name or an address to listen on")


def host_port(text: str) -> str:
    """Accept ``host:port``, with an IPv6 address in brackets and a port from 1 to 65535. Returns the text."""
    name, _, port = text.rpartition(":")
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+", name) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError("must be host:port")
    if not 1 <= int(port) <= 65_535:
        raise ValueError("must be host:port with a port from 1 to 65535")
    return text


def optional_host_port(text: str) -> str:
    """Accept ``host:port`` or an empty text. Returns the text."""
    return host_port(text) if text else ""


def brokers(text: str) -> str:
    """Accept one or more ``host:port``, separated by commas. Returns the text without spaces around them."""
    try:
        return ",".join(host_port(broker.strip()) for broker in text.split(","))
    except ValueError:
        raise ValueError("must be host:port or host:port,host:port (without a scheme or a password)") from None


def account_names(text: str) -> str:
    """Accept user ids, separated by commas, or ``*``, or an empty text. Returns it without spaces around the ids."""
    names = [printable(name.strip()) for name in text.split(",")] if text else []
    if not all(names) or len(names) > NAMES_MAX or ("*" in names and len(names) > 1):
        raise ValueError(f"must be *, or up to {NAMES_MAX} user ids, separated by commas")
    return ",".join(dict.fromkeys(names))


def redis_url(text: str) -> str:
    """Accept the URL of a Redis database, over TCP, TLS, a Unix socket or Sentinel. Returns the text."""
    if is_sentinel(text):
        sentinel_url(text)
        return text
    try:
        url = urlsplit(text)
        valid = bool(url.hostname) and url.port != 0 and re.fullmatch(r"(/[0-9]*)?", url.path) is not None
    except ValueError:
        raise ValueError(MUST) from None
    if url.scheme == "unix":
        valid = len(url.path) > 1
    if url.scheme not in ("redis", "rediss", "unix") or not valid:
        raise ValueError(MUST)
    return text


def log_level(text: str) -> str:
    """Accept a log level of LOG_LEVELS, in upper or lower case. Returns it in upper case."""
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return text.upper()


def directory(text: str) -> Path:
    """Accept any path; it need not exist. An empty text is refused."""
    if not text:
        raise ValueError("must be the path of a directory")
    return Path(text)
