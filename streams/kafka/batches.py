"""Batch: some records of one partition, which the consumer hands on in place of single records. ``next_batch`` makes
batches of what aiokafka has fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from streams.kafka import internals

RECORDS_MAX: Final = 4_000
"""A Batch takes in producers' batches until it has at least this many offsets. The limit lets partitions take turns,
as some brokers send more bytes of one partition than a fetch request allows."""


class Batch(NamedTuple):
    """The records of one partition at the offsets from ``begin`` to before ``end``::

        offset      5   6   7   8   9   10
        log         C   r   r   r   C              begin = 5, first = 6, end = 10
                    C: a transaction marker        records = those at 6, 7 and 8

    ``begin`` is the ``end`` of the batch before. So a lost batch shows as a gap between two batches, and transaction
    markers show as none. ``first`` is the offset of the first record, or None if there are no records but markers.
    ``records`` is an iterator for one pass. It decodes each record only when it yields it, so that the record is still
    in the processor's cache when it is counted.
    """

    begin: int
    end: int
    first: int | None
    records: Iterator[Any]


def next_batch(result: Any, begin: int | None) -> Batch:
    """Take the next records out of aiokafka's FetchResult: all of the producers' batches up to the one that reaches
    RECORDS_MAX, or to the last one.

    ``begin``: the ``end`` of the partition's last batch, or None after a seek; then the batch begins at the offset of
    the fetch. Side effects: the consumer's position moves to the batch's ``end``, and ``result.has_more()`` is False
    once everything is taken.

    Reads the producers' batches directly, because what aiokafka does for each record costs as much as to count it. Does
    not leave out records of aborted transactions.
    """
    source, producer_batches = internals.undecoded(result)
    if begin is None:
        begin = source.next_fetch_offset
    first: int | None = None
    iterators: list[Iterable[Any]] = []
    count = 0
    while count < RECORDS_MAX and producer_batches.has_next():
        sent = producer_batches.next_batch()
        if not sent.is_control_batch:  # a control batch holds transaction markers
            records: Iterable[Any] = sent
            offset = getattr(sent, "base_offset", -1)  # batches of the formats before Kafka 0.11 have none
            if offset < source.next_fetch_offset:  # a broker sends whole batches; the head of this one was read before
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
