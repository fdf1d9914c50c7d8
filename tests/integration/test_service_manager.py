"""A worker under a service manager: what it tells systemd's socket, and what its log says of a loop that hangs."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.notify_socket import NotifySocket
from tests.support.workers import READY_LIMIT_S, Deployment, Worker

WATCHDOG_S = 3.0
DRAIN_S = 4


def test_a_worker_tells_systemd_when_it_is_ready_alive_and_ending(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY once /readyz says yes and not before, pings until the process is gone, and the time that its end takes.

    SIGHUP, which `systemctl reload` sends, ends nothing; SIGABRT, which the watchdog sends, leaves in the log where
    the process was."""
    with NotifySocket() as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1_000_000)))
        with Worker(deployment.with_settings(DRAIN_S=DRAIN_S)) as worker:
            before = []
            while "READY" not in (message := systemd.receive(READY_LIMIT_S)):
                before.append(message)
            assert worker.why_not_ready() == ""
            assert {message["STATUS"] for message in before if "STATUS" in message} >= {"waiting for Kafka"}
            worker.process.send_signal(signal.SIGHUP)
            for _ in range(3):
                assert systemd.receive(WATCHDOG_S) == {"WATCHDOG": "1"}
            worker.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            while "STOPPING" not in (message := systemd.receive(WATCHDOG_S)):
                assert message == {"WATCHDOG": "1"}
            assert time.monotonic() - began < DRAIN_S / 2
            assert int(message["EXTEND_TIMEOUT_USEC"]) >= (DRAIN_S + 4.5 + 10) * 1_000_000
            worker.wait_ended_in_order()
            pings = systemd.waiting()
            assert pings == [{"WATCHDOG": "1"}] * len(pings)
            assert len(pings) >= DRAIN_S / WATCHDOG_S
        with Worker(deployment) as worker:
            worker.wait_ready()
            worker.process.send_signal(signal.SIGABRT)
            assert worker.process.wait(10) == -signal.SIGABRT
            log = worker.log.read_text()
            assert "Fatal Python error: Aborted" in log
            assert "run_worker" in log
