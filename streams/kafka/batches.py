"""Batch: what the consumer hands over in place of single records, and how it is made of what aiokafka has fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from streams.kafka import internals

RECORDS_MAX: Final = 4_000
"""A batch is closed at the first producer's batch that brings it to so many records. Not every broker keeps to the
limit of bytes of a fetch, and partitions are to be served in turn."""


class Batch(NamedTuple):
    """The records of one partition at the offsets from ``begin`` to before ``end``::

        offset      5   6   7   8   9   10
        log         C   r   r   r   C              begin = 5, first = 6, end = 10
                    C: a transaction marker        records = those at 6, 7 and 8

    ``begin`` is the ``end`` of the batch before, so a batch that was lost between two shows as a gap between them,
    and transaction markers do not. ``first``: the offset of the first record; None if there are markers only.
    ``records``: an iterator for one pass. It decodes a record when it is asked for it, so that the record is still in
    the processor's cache when it is counted.
    """

    begin: int
    end: int
    first: int | None
    records: Iterator[Any]


def next_batch(result: Any, begin: int | None) -> Batch:
    """Take the next records out of aiokafka's FetchResult: RECORDS_MAX or a few more, or all that are left.

    ``begin``: the ``end`` of the partition's last batch; None after a seek, for then the batch begins where it was
    read from. Side effects: the consumer's position moves to the batch's ``end``, and ``result.has_more()`` is False
    once everything is taken.

    Reads the producers' batches themselves. What aiokafka does for each record costs as much as to count it.
    """
    source, producer_batches = internals.undecoded(result)
    if begin is None:
        begin = source.next_fetch_offset
    first: int | None = None
    iterators: list[Iterable[Any]] = []
    count = 0
    while count < RECORDS_MAX and producer_batches.has_next():
        sent = producer_batches.next_batch()
        if not sent.is_control_batch:  # transaction markers
            records: Iterable[Any] = sent
            offset = getattr(sent, "base_offset", -1)  # batches of the formats before Kafka 0.11 have none
            if offset < source.next_fetch_offset:  # a broker sends batches whole; the head of this one was read before
                records = [record for record in sent if record.offset >= source.next_fetch_offset]
                offset = records[0].offset if records else None
            if first is None:
                first = offset
            iterators.append(iter(records))  # decompresses the batch
            count += sent.next_offset - source.next_fetch_offset
        source.next_fetch_offset = max(source.next_fetch_offset, sent.next_offset)
    internals.set_position(result)
    if not producer_batches.has_next():
        internals.set_read(result)
    return Batch(begin, source.next_fetch_offset, first, chain.from_iterable(iterators))
