"""``is_free`` and ``free_ports``: TCP ports of this machine on which no process listens."""

from __future__ import annotations

import errno
import random
import socket
from itertools import cycle, islice
from typing import Final

LOCAL: Final = "127.0.0.1"

PORTS: Final = range(20_000, 32_000)
"""The ports that ``free_ports`` chooses from. By default neither Linux nor macOS uses them for outgoing connections. So
no such connection takes a port between its choice and its use, or while a server is restarted."""
_first = random.randrange(len(PORTS))
"""Each process starts at a random port, because other processes may choose at the same time."""
_ports = cycle((*PORTS[_first:], *PORTS[:_first]))


def free_ports(count: int) -> list[int]:
    """Choose ports of 127.0.0.1 on which nobody listens now. Raises OSError if there are not enough of them.

    The search begins after the port chosen last and goes round PORTS, so a port is chosen again as late as possible.
    """
    chosen = list(islice(filter(is_free, islice(_ports, len(PORTS))), count))
    if len(chosen) < count:
        raise OSError(errno.EADDRNOTAVAIL, f"all ports of {LOCAL} from {PORTS[0]} to {PORTS[-1]} are in use")
    return chosen


def is_free(port: int, host: str = LOCAL) -> bool:
    """Whether a server can listen on a port now.

    Raises OSError if no server ever could: the host is no address of this machine, or permission is missing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True
