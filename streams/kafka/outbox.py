"""Outbox: what one transaction of a partition is to hold, before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from ecounters.changelog.entries import Entry

Headers = list[tuple[str, bytes]]


class DeadLetter(NamedTuple):
    """A dead letter: the message as it came, and headers that say why."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Outbox:
    """What one transaction is to hold, put into batches as it comes: that takes the processor for long, and may be
    done in steps. ``entries``: how many there are; ``last``: its key."""

    def __init__(self, new_batch: Callable[[], Any]) -> None:
        self.entries = 0
        self.last: bytes | None = None
        self.changelog = [new_batch()]
        self.dlq = [new_batch()]
        self._new_batch = new_batch

    def take(self, entries: Iterator[Entry], most: int) -> bool:
        """Take over the next entries; whether there may be more."""
        append, count, key = self.changelog[-1].append, 0, self.last
        for key, value in islice(entries, most):
            count += 1
            if append(timestamp=None, key=key, value=value) is None:
                self.changelog.append(self._new_batch())
                append = self.changelog[-1].append
                append(timestamp=None, key=key, value=value)  # the first always fits
        self.entries += count
        self.last = key
        return count == most

    @property
    def has_letters(self) -> bool:
        """Whether there are dead letters in it."""
        return bool(self.dlq[0].record_count())

    def take_letter(self, letter: DeadLetter) -> None:
        """Take over a dead letter."""
        message = letter._asdict()
        if self.dlq[-1].append(timestamp=None, **message) is None:
            self.dlq.append(self._new_batch())
            self.dlq[-1].append(timestamp=None, **message)
