"""Addresses: of either family, and of a server that listens on all of them."""

from __future__ import annotations

import pytest

from streams.basics.addresses import host_port, is_this_machine, local_url


@pytest.mark.parametrize(
    ("host", "text"), [("10.0.0.7", "10.0.0.7:8080"), ("worker-1", "worker-1:8080"), ("fe80::1", "[fe80::1]:8080")]
)
def test_a_host_and_its_port(host: str, text: str) -> None:
    """Only an IPv6 address needs brackets."""
    assert host_port(host, 8080) == text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_a_server_on_this_machine(host: str, url: str) -> None:
    """Who listens on all addresses of a family is reached at its loopback address."""
    assert local_url(host, 80) == url


def test_hosts_of_this_machine() -> None:
    """Its name for itself, and loopback addresses of both families."""
    hosts = ["localhost", "127.0.0.1", "127.0.1.1", "::1", "10.0.0.7", "kafka-1", ""]
    assert [is_this_machine(host) for host in hosts] == [True] * 4 + [False] * 3
