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
    """The changelog entries and dead letters of one transaction, as batches of one size at most.

    To encode entries takes the processor for long, so it is done in steps: ``add_entries`` until it returns False.
    ``ChangelogWriter.outbox`` makes one, ``ChangelogWriter.write`` sends it.

    | field             | meaning                                      |
    |-------------------|----------------------------------------------|
    | entries           | how many changelog entries it holds          |
    | last_key          | the key of the last one; None before a first |
    | changelog_batches | the batches for the changelog, in order      |
    | dlq_batches       | the batches for the topic of dead letters    |
    """

    def __init__(self, new_batch: Callable[[], Any]) -> None:
        """``new_batch``: makes an empty batch of aiokafka, such as ``AIOKafkaProducer.create_batch``."""
        self.entries = 0
        self.last_key: bytes | None = None
        self.changelog_batches = [new_batch()]
        self.dlq_batches = [new_batch()]
        self._new_batch = new_batch

    def add_entries(self, entries: Iterator[Entry], limit: int) -> bool:
        """Encode the next entries, at most ``limit``. False if the iterator has ended before that."""
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

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Encode a dead letter."""
        message = letter._asdict()
        if self.dlq_batches[-1].append(timestamp=None, **message) is None:
            self.dlq_batches.append(self._new_batch())
            self.dlq_batches[-1].append(timestamp=None, **message)

    @property
    def has_dead_letters(self) -> bool:
        """Whether it holds a dead letter."""
        return bool(self.dlq_batches[0].record_count())
