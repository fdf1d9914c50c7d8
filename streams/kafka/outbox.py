"""Outbox: the content of one transaction, encoded into batches before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from ecounters.changelog.entries import Entry

Headers = list[tuple[str, bytes]]


class DeadLetter(NamedTuple):
    """A message that could not be counted, with its own key and value, and headers that say why."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Outbox:
    """The changelog entries and dead letters of one transaction, encoded into aiokafka's batches of limited size.

    To encode many entries takes the processor for long, so the caller does it in steps: it calls ``add_entries`` until
    that returns False. ``ChangelogWriter.outbox`` makes an Outbox, ``ChangelogWriter.write`` sends it.

    | field             | meaning                                      |
    |-------------------|----------------------------------------------|
    | entries           | how many changelog entries were added        |
    | last_key          | the key of the last entry; None if none was  |
    | changelog_batches | the batches for the changelog, in order      |
    | dlq_batches       | the batches for the topic of dead letters    |
    """

    def __init__(self, new_batch: Callable[[], Any]) -> None:
        """``new_batch`` makes an empty batch of aiokafka, as ``AIOKafkaProducer.create_batch`` does."""
        self.entries = 0
        self.last_key: bytes | None = None
        self.changelog_batches = [new_batch()]
        self.dlq_batches = [new_batch()]
        self._new_batch = new_batch

    def add_entries(self, entries: Iterator[Entry], limit: int) -> bool:
        """Encode the next entries, at most ``limit``. Returns False if the iterator has ended before ``limit``."""
        append, count, key = self.changelog_batches[-1].append, 0, self.last_key
        for key, value in islice(entries, limit):
            count += 1
            if append(timestamp=None, key=key, value=value) is None:  # the batch is full
                self.changelog_batches.append(self._new_batch())
                append = self.changelog_batches[-1].append
                append(timestamp=None, key=key, value=value)  # an empty batch takes a record of any size
        self.entries += count
        self.last_key = key
        return count == limit

    def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Encode a dead letter."""
        message = dead_letter._asdict()
        if self.dlq_batches[-1].append(timestamp=None, **message) is None:
            self.dlq_batches.append(self._new_batch())
            self.dlq_batches[-1].append(timestamp=None, **message)

    @property
    def bytes(self) -> int:
        """The size of all batches, in bytes."""
        return sum(batch.size() for batch in (*self.changelog_batches, *self.dlq_batches))

    @property
    def has_dead_letters(self) -> bool:
        """Whether at least one dead letter was added."""
        return bool(self.dlq_batches[0].record_count())
