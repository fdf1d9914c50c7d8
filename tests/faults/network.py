"""A network between some workers and all brokers, which can fail while other workers' network is fine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Self

from streams.local.ports import LOCAL, free_ports
from tests.support.tcp_relay import TcpRelay

LIMIT_S: Final = 10.0


class Network:
    """A relay in front of each node. ``ports``: node -> (port of the node, port of its relay), for ``Cluster``."""

    def __init__(self, nodes: Sequence[int]) -> None:
        ports = free_ports(2 * len(nodes))
        self.ports = {node: (ports[2 * at], ports[2 * at + 1]) for at, node in enumerate(nodes)}
        self._relays = [TcpRelay(LOCAL, behind, listen) for behind, listen in self.ports.values()]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._is_cut = False

    def __enter__(self) -> Self:
        self._thread.start()
        self._each(relay.mend() for relay in self._relays)
        return self

    def __exit__(self, *exc: object) -> None:
        self._each(relay.cut() for relay in self._relays)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        """The brokers' addresses through the relays."""
        return ",".join(f"{LOCAL}:{told}" for _, told in self.ports.values())

    def hang(self) -> None:
        """Keep connections open and pass nothing on."""
        for relay in self._relays:
            self._loop.call_soon_threadsafe(relay.hang)

    def cut(self) -> None:
        """Close all connections and accept none."""
        self._is_cut = True
        self._each(relay.cut() for relay in self._relays)

    def resume(self) -> None:
        """Undo ``hang`` and ``cut``; bytes that hung are passed on now."""
        for relay in self._relays:
            self._loop.call_soon_threadsafe(relay.resume)
        if self._is_cut:
            self._is_cut = False
            self._each(relay.mend() for relay in self._relays)

    def _each(self, work: Any) -> None:
        for one in work:
            self._run(one)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)
