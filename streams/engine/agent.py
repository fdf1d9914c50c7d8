"""The agent: takes batches of events and gives them to their partitions' states."""

from __future__ import annotations

import logging
from typing import Any, cast

from streams.engine.table import StateTable
from streams.kafka.batches import Batch

log = logging.getLogger(__name__)


def add_agent(app: Any, topic: str, table: StateTable) -> None:
    """Let an agent of the app consume that topic into the table."""
    events = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(events, name="count", concurrency=1)  # type: ignore[untyped-decorator]  # faust has no types for it
    async def count(stream: Any) -> None:
        """Count events. One at a time: a partition's batches must be applied in order."""
        async for event in stream.events():
            try:
                await table.apply_batch(event.message.partition, cast(Batch, event.value))
            except Exception as error:
                # Faust would acknowledge the batch and go on, and what was in it would be lost without a word.
                log.exception("an event could not be counted; ending before anything is lost")
                await app.crash(error)
                raise
