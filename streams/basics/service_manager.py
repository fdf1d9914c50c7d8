"""``ServiceManager``: tells systemd how a worker does, by the protocol of ``sd_notify``.

    start ──► READY=1 once the worker is ready ──► WATCHDOG=1 again and again ──► STOPPING=1 ──► end of the process

Each message is one datagram to the socket that systemd names in NOTIFY_SOCKET. Without that variable nothing is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final, Self

from streams.basics.repeated import LogAgain

log = logging.getLogger(__name__)

START_POLL_S: Final = 0.2
"""How often a worker that starts looks whether it is ready."""
START_SILENCE_S: Final = 60
"""Until a worker is ready, systemd may take it for dead if it says nothing for so long. However long the start takes,
as while Kafka is away, a worker whose loop runs is not ended."""
PINGS: Final = 3
"""So many pings are sent in the time after which the watchdog would end the process: two may come late."""
IDLE_S: Final = 1.0
"""Time between two looks where there is no watchdog."""


class ServiceManager:
    """What has started this process and waits for its messages; or nobody.

    ``address``: of the manager's socket; "" is nobody. ``watchdog_s``: the manager ends the process if it has not sent
    a ping for so long; 0: it does not. ``why_not_ready``: why the process is not ready, as one line, "" once it is; the
    process replaces it as soon as it knows.
    """

    def __init__(self, address: str, watchdog_s: float) -> None:
        self.address = address
        self.why_not_ready: Callable[[], str] = lambda: "waiting for Kafka"
        self._watchdog_s = watchdog_s
        self._starting = True
        self._failure = LogAgain()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """The manager that NOTIFY_SOCKET names, with the watchdog of WATCHDOG_USEC.

        WATCHDOG_PID says for which process the watchdog is: a child process that inherits the variables has none.
        Raises ValueError if one of the two numbers is none.
        """
        own = int(environ.get("WATCHDOG_PID", os.getpid())) == os.getpid()
        watchdog_s = int(environ.get("WATCHDOG_USEC", 0)) / 1_000_000 if own else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    async def keep_told(self) -> None:
        """Say when the process is ready, and ping. Runs until it is cancelled; returns at once if nobody listens.

        The pings come from the event loop. If the loop hangs they end, and systemd starts the process again.
        """
        while self.address:
            why = self.why_not_ready() if self._starting else ""
            if why:
                self._send(f"STATUS={why}", f"EXTEND_TIMEOUT_USEC={START_SILENCE_S * 1_000_000}")
            elif self._starting:
                self._starting = False
                self._send("READY=1", "STATUS=ready")
            if self._watchdog_s:
                self._send("WATCHDOG=1")
            await asyncio.sleep(START_POLL_S if self._starting else self._watchdog_s / PINGS or IDLE_S)

    def stopping(self, limit_s: float) -> None:
        """Say that the process is going to end, within ``limit_s``: systemd waits so long, whatever its unit says."""
        self._starting = False
        self._send("STOPPING=1", "STATUS=handing over", f"EXTEND_TIMEOUT_USEC={limit_s * 1_000_000:.0f}")

    def close(self) -> None:
        """Close the socket. Nothing is told any more."""
        self.address = ""
        if self._socket is not None:
            self._socket.close()

    def _send(self, *lines: str) -> None:
        """Send one message. A manager that cannot be told ends no worker: that is logged once a minute."""
        if self._socket is None or not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            self._socket.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            if self._failure.is_due():
                log.warning("the service manager at %s cannot be told %s: %s", self.address, lines[0], error)
