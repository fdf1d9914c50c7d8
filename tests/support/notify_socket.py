"""The socket at which systemd waits for messages of its services, without systemd."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Self

MESSAGE_BYTES_MAX = 4_096


class NotifySocket:
    """A datagram socket, in a folder of its own with a short name: paths of sockets have at most 107 bytes.

    ``address``: the value of NOTIFY_SOCKET. ``abstract``: whether it is in Linux' namespace for sockets without a file.
    """

    def __init__(self, *, abstract: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="notify-"))
        path = str(self._folder / "s")
        self.address = "@" + path if abstract else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + path if abstract else path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()
        shutil.rmtree(self._folder)

    def receive(self, limit_s: float) -> dict[str, str]:
        """The next message. TimeoutError if none comes."""
        self._socket.settimeout(limit_s)
        return _parsed(self._socket.recv(MESSAGE_BYTES_MAX))

    def waiting(self) -> list[dict[str, str]]:
        """All messages that have come and were not received yet."""
        messages = []
        self._socket.setblocking(False)
        while True:
            try:
                messages.append(_parsed(self._socket.recv(MESSAGE_BYTES_MAX)))
            except BlockingIOError:
                return messages


def _parsed(message: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in message.decode().splitlines())
