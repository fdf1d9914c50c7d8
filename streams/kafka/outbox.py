"""Outbox: the content of one transaction, encoded into batches before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from msgspec import Struct

from ecounters.changelog.entries import Entry

Headers = list[tuple[str, bytes]]


class DeadLetter(Struct, gc=False):
    """A message that could not be counted, with its own key and value, and what its headers say.

    The garbage collector does not visit it, however many wait for a flush. So what is its own are numbers, and
    ``headers`` are made when it is encoded.

    | field       | meaning                                                                 |
    |-------------|-------------------------------------------------------------------------|
    | why         | headers that it shares with others: the reason, and where it was read   |
    | offset      | its offset; of a record batch that cannot be read, that of its first record |
    | last_offset | the offset of the last record of such a batch                           |
    | size        | the length of the whole value in bytes, if it is truncated or left out  |
    """

    key: bytes | None
    value: bytes | None
    why: Headers
    offset: int
    last_offset: int | None = None
    size: int | None = None

    @property
    def headers(self) -> Headers:
        """``why``, then the numbers that it has, under their names."""
        own = (("offset", self.offset), ("last_offset", self.last_offset), ("size", self.size))
        return [*self.why, *((name, b"%d" % number) for name, number in own if number is not None)]


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
        key, value, headers = dead_letter.key, dead_letter.value, dead_letter.headers
        if self.dlq_batches[-1].append(timestamp=None, key=key, value=value, headers=headers) is None:
            self.dlq_batches.append(self._new_batch())
            self.dlq_batches[-1].append(timestamp=None, key=key, value=value, headers=headers)

    @property
    def bytes(self) -> int:
        """The size of all batches, in bytes."""
        return sum(batch.size() for batch in (*self.changelog_batches, *self.dlq_batches))

    @property
    def has_dead_letters(self) -> bool:
        """Whether at least one dead letter was added."""
        return bool(self.dlq_batches[0].record_count())
