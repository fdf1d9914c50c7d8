"""``ServiceManager``: what systemd is told, by a real datagram socket."""

from __future__ import annotations

import asyncio
import logging
import os
import time

import pytest

from streams.basics.service_manager import PINGS, ServiceManager
from tests.support.notify_socket import NotifySocket

WATCHDOG_S = 0.3


async def told(manager: ServiceManager, for_s: float) -> None:
    """Let a manager be told for a while."""
    telling = asyncio.create_task(manager.keep_told())
    await asyncio.sleep(for_s)
    telling.cancel()


def hang() -> None:
    """Keep the event loop busy for longer than the watchdog waits."""
    time.sleep(2 * WATCHDOG_S)


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_told_from_the_start_to_the_end(abstract: bool) -> None:
    """Why it is not ready and that systemd must wait; that it is ready, once; pings; and its end."""
    with NotifySocket(abstract=abstract) as systemd:
        manager = ServiceManager(systemd.address, WATCHDOG_S)
        reasons = ["3 of 8 partitions are being restored", ""]
        manager.why_not_ready = lambda: reasons.pop(0)
        asyncio.run(told(manager, 0.5))
        manager.stopping(26.5)
        manager.close()
        messages = systemd.waiting()
    assert messages[0] == {"STATUS": "3 of 8 partitions are being restored", "EXTEND_TIMEOUT_USEC": "60000000"}
    assert messages[2] == {"READY": "1", "STATUS": "ready"}
    assert messages[-1] == {"STOPPING": "1", "STATUS": "handing over", "EXTEND_TIMEOUT_USEC": "26500000"}
    pings = [messages[1], *messages[3:-1]]
    assert len(pings) >= PINGS
    assert pings == [{"WATCHDOG": "1"}] * len(pings)
    assert reasons == []


def test_a_loop_that_hangs_sends_no_ping() -> None:
    """The pings come from the event loop, so that what keeps it busy keeps them back."""

    async def counted() -> tuple[int, int]:
        telling = asyncio.create_task(manager.keep_told())
        await asyncio.sleep(0.2)
        before = len(systemd.waiting())
        hang()
        telling.cancel()
        return before, len(systemd.waiting())

    with NotifySocket() as systemd:
        manager = ServiceManager(systemd.address, WATCHDOG_S)
        manager.why_not_ready = lambda: ""
        before, meanwhile = asyncio.run(counted())
        manager.close()
    assert before >= 2
    assert meanwhile == 0


@pytest.mark.parametrize(
    ("environ", "pings"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "300000"}, True),
        ({"WATCHDOG_USEC": "300000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}, False),
    ],
)
def test_pings_are_sent_by_the_process_that_the_watchdog_is_for(environ: dict[str, str], pings: bool) -> None:
    """Without a watchdog, or with that of another process, no ping is sent."""
    with NotifySocket() as systemd:
        manager = ServiceManager.of({"NOTIFY_SOCKET": systemd.address, **environ})
        manager.why_not_ready = lambda: ""
        asyncio.run(told(manager, 0.1))
        manager.close()
        assert ({"WATCHDOG": "1"} in systemd.waiting()) is pings


def test_without_a_manager_nothing_is_told() -> None:
    """Where nothing waits for messages, the task ends at once, and the end is told to nobody."""
    manager = ServiceManager.of({"WATCHDOG_USEC": "300000"})
    asyncio.run(asyncio.wait_for(manager.keep_told(), 1))
    manager.stopping(1)
    manager.close()


def test_a_manager_that_is_gone_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A socket that cannot be reached is logged, once a minute at most."""
    with NotifySocket() as systemd:
        manager = ServiceManager(systemd.address, WATCHDOG_S)
    with caplog.at_level(logging.WARNING):
        asyncio.run(told(manager, 0.5))
    manager.close()
    (line,) = caplog.messages
    assert line.startswith(f"the service manager at {systemd.address} cannot be told STATUS=waiting for Kafka")
