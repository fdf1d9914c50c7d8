"""Addresses: a host and a port as one text, and the URL of a server on this machine."""

from __future__ import annotations

from typing import Final

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""A host name that means "listen on all addresses" -> the address at which this machine reaches such a server."""


def host_port(host: str, port: int) -> str:
    """``host:port``; an IPv6 address is put into brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_url(host: str, port: int, scheme: str = "http") -> str:
    """The URL at which this machine reaches a server that listens on ``host`` and ``port``."""
    return f"{scheme}://{host_port(_LOOPBACK.get(host, host), port)}"


def is_this_machine(host: str) -> bool:
    """Whether a host is a name or a loopback address of the machine that this process runs on."""
    return host in ("localhost", "::1") or host.startswith("127.")
