"""What the transport needs of the worker. Faust gives the consumer nothing but the app, so the app has attributes for
it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import faust
from faust.types import TP


class Positions(Protocol):
    """The flushed and committed offsets of this worker's partitions. ``streams.engine.table.StateTable`` has them."""

    def to_commit(self) -> Mapping[TP, int]:
        """partition -> flushed offset, for each partition where it differs from the offset committed last."""

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note that these offsets were committed to the group."""

    def lost(self, tp: TP) -> None:
        """Note that a batch of this partition was dropped: read the partition again from its state's position."""

    def states(self) -> Mapping[int, int]:
        """partition -> the offset up to which this worker has a state from which it can answer, also as a standby. From
        any thread."""

    def followed(self) -> list[int]:
        """The partitions of others of which this worker has a state, as a standby. From any thread."""

    async def flush_before_revoke(self) -> None:
        """At the start of a rebalance: flush what can be flushed while this worker still owns its partitions."""


class TransportApp(faust.App):
    """Faust's app, with what this transport needs of the worker. Set all attributes before the app is started."""

    fetch_wait_ms: int
    """How long a broker may hold a fetch request while it has no events."""
    idle_fetch_wait_ms: int
    """The same once no events have come for a while."""
    partitions: int
    """How many partitions the topic of events had at the start: only these are assigned to workers."""
    positions: Positions
    """Knows which offsets may be committed."""
