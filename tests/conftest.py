"""Fixtures for all tests: one embedded broker and store for the whole run."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

START_LIMIT_S = 20.0


@dataclass(frozen=True)
class Servers:
    """Where the embedded servers are."""

    broker: str
    redis_url: str


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the embedded server did not start on port {port}") from error
            time.sleep(0.05)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """An embedded broker and store on free ports, ended with the test run."""
    kafka, redis = _free_ports(2)
    data_dir: Path = tmp_path_factory.mktemp("embedded")
    ports = ["--kafka-port", str(kafka), "--redis-port", str(redis)]
    with resources.as_file(resources.files("noida_db") / "noida-db") as program:
        program.chmod(0o755)
        process = subprocess.Popen(
            [program, "start", "--data-dir", data_dir, "--only", "redis,kafka", *ports],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        for port in (kafka, redis):
            _wait_for(port, process)
        yield Servers(f"127.0.0.1:{kafka}", f"redis://127.0.0.1:{redis}/0")
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="session")
def redis_url(embedded: Servers) -> str:
    """A Redis to use."""
    return embedded.redis_url


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> str:
    """A Kafka to use: ECOUNTERS_TEST_BROKER, or the embedded one."""
    given = os.environ.get("ECOUNTERS_TEST_BROKER")
    if given:
        return given
    servers: Servers = request.getfixturevalue("embedded")
    return servers.broker
