"""What the transport needs of the worker. Faust makes the consumer with its app alone, so the app carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import faust
from faust.types import TP


class Positions(Protocol):
    """Which offsets of this worker's partitions may be committed. ``streams.engine.table.StateTable`` is one."""

    def to_commit(self) -> Mapping[TP, int]:
        """The flushed offset of each partition whose flushed offset has moved since the last commit."""

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note that these offsets were committed to the group."""

    def lost(self, tp: TP) -> None:
        """Note that a batch of this partition was dropped. The partition must be followed anew, see ``follow``."""

    async def flush_before_revoke(self) -> None:
        """A rebalance begins: flush what can be flushed while the partitions are still this worker's."""


class TransportApp(faust.App):
    """Faust's app, with what this transport needs of the worker. Both are to be set before the app is started."""

    fetch_wait_ms: int
    """How long a broker may wait for more events before it replies to a fetch request."""
    positions: Positions
