"""A fake of aiokafka's batches that have room for a few messages only."""

from __future__ import annotations

from typing import Any


class SmallBatch:
    """Takes ``room`` messages, whatever their size, as long as it is not closed."""

    def __init__(self, room: int) -> None:
        self.messages: list[dict[str, Any]] = []
        self.closed = False
        self._room = room

    def append(self, **message: Any) -> object | None:
        """Take a message; None if there is no room for it."""
        assert not self.closed
        if len(self.messages) == self._room:
            return None
        self.messages.append(message)
        return self

    def record_count(self) -> int:
        """How many messages it holds."""
        return len(self.messages)

    def close(self) -> None:
        """It takes no more messages."""
        self.closed = True
