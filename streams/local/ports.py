"""Ports of this machine that nobody uses."""

from __future__ import annotations

import errno
import random
import socket
from itertools import cycle, islice
from typing import Final

LOCAL: Final = "127.0.0.1"

PORTS: Final = range(20_000, 32_000)
"""To choose from. No system has these for outgoing connections, one of which could else take a port between the choice
and its use, or while a server is started again."""
_first = random.randrange(len(PORTS))  # others choose at the same time
_ports = cycle((*PORTS[_first:], *PORTS[:_first]))


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now. OSError if there are not so many."""
    found = list(islice(filter(is_free, islice(_ports, len(PORTS))), count))
    if len(found) < count:
        raise OSError(errno.EADDRNOTAVAIL, f"all ports of {LOCAL} from {PORTS[0]} to {PORTS[-1]} are in use")
    return found


def is_free(port: int, host: str = LOCAL) -> bool:
    """Whether nobody listens on that port now. OSError if nobody ever could: no such address, no permission."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True
