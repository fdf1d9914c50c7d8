"""Where a worker serves: on two ports, over IPv4 and IPv6, and under a path prefix."""

from __future__ import annotations

import http.client
import socket

import pytest

from streams.local.ports import free_ports
from streams.web.paths import COUNTERS_PATHS
from tests.support.accounts import TOKEN, add_users
from tests.support.workers import Deployment, Worker

ADMIN = ("/healthz", "/readyz", "/metrics", "/docs", "/docs/docs.js", "/openapi.json", "/asyncapi.json")
PREFIX = "/counters"


def status(host: str, port: int, method: str, path: str, body: str = "") -> int:
    """The status of the reply to a request."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_second_port_both_families_and_a_prefix(deployment: Deployment) -> None:
    """With ECOUNTERS_ADMIN_PORT, probes, metrics and documents are there alone; "::" is IPv4
    too; paths are served with and without the prefix."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    add_users(deployment, ["u1"])
    port, admin = free_ports(2)
    advertised = f"127.0.0.1:{port}"
    settings = {
        "HOST": "::",
        "ADVERTISE": advertised,
        "ADMIN_PORT": admin,
        "PATH_PREFIX": PREFIX,
    }
    with Worker(deployment.with_settings(**settings), port=port, probed=admin) as worker:
        worker.wait_ready()
        asked = f'{{"userId":"u1","token":"{TOKEN}"}}'
        for host in ("127.0.0.1", "::1"):
            for prefix in ("", PREFIX):
                assert status(host, port, "POST", prefix + COUNTERS_PATHS[0], asked) == 200
                assert {status(host, admin, "GET", prefix + path) for path in ADMIN} == {200}
                assert {status(host, port, "GET", prefix + path) for path in ADMIN} == {404}
                assert status(host, admin, "POST", prefix + COUNTERS_PATHS[0], asked) == 404
                assert status(host, admin, "GET", prefix + "/dashboard") == 404
        assert status("127.0.0.1", port, "POST", PREFIX, asked) == 404
        assert status("127.0.0.1", port, "POST", PREFIX + "x" + COUNTERS_PATHS[0], asked) == 404
        assert status("127.0.0.1", port, "POST", PREFIX * 2 + COUNTERS_PATHS[0], asked) == 404
