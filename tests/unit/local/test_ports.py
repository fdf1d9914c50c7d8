"""Free ports, and those that are not."""

from __future__ import annotations

import socket

import pytest

from streams.local import ports
from streams.local.ports import PORTS, free_ports, is_free


def test_a_port_is_in_use_while_a_server_listens() -> None:
    """Then it is not free, and not chosen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_ports_differ_and_are_none_of_outgoing_connections() -> None:
    """So that nobody else takes one of them soon."""
    chosen = free_ports(3) + free_ports(3)
    assert len(set(chosen)) == 6 and set(chosen) <= set(PORTS)


def test_too_few_ports_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which range was tried."""
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(OSError, match="from 20000 to 31999 are in use"):
        free_ports(1)


def test_an_address_of_another_machine_is_an_error() -> None:
    """No server of this machine ever can listen on it."""
    with pytest.raises(OSError):
        is_free(20_000, "192.0.2.1")
