"""``add_agent``: makes the Faust agent that passes batches of events to the table, one after the other."""

from __future__ import annotations

import logging
from typing import Any, cast

from streams.engine.table import StateTable
from streams.kafka.batches import Batch

log = logging.getLogger(__name__)


def add_agent(app: Any, topic: str, table: StateTable) -> None:
    """Register an agent of ``app`` that applies all batches of ``topic`` to ``table``.

    An error while a batch is applied ends the worker.
    """
    events = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(events, name="count", concurrency=1)  # type: ignore[untyped-decorator]  # faust has no types for it
    async def count(stream: Any) -> None:
        """Apply batches one at a time, because the batches of a partition must be applied in order."""
        async for stream_event in stream.events():
            try:
                await table.apply_batch(stream_event.message.partition, cast(Batch, stream_event.value))
            except Exception as error:
                # Without the crash Faust would start the agent again and pass it the next batch, though the state may
                # hold this batch only in part.
                log.exception("an event could not be counted; ending before anything is lost")
                await app.crash(error)
                raise
