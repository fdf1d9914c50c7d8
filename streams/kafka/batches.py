"""Batch: what the transport hands over, and how it is made of what aiokafka has fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from streams.kafka import internals

RECORDS_MAX: Final = 4_000
"""About so many in one batch. Not every broker keeps to a fetch's limit of bytes; and partitions are to take turns."""


class Batch(NamedTuple):
    """Records of one partition that follow one another. ``begin``: the offset that was asked for; ``end``: the next.

    ``first``: from where on there can be records, if there are any. ``records`` can be gone through once: a record is
    made when it is asked for, and so is still in the processor's cache when it is counted.
    """

    begin: int
    end: int
    first: int | None
    records: Iterator[Any]


def next_batch(result: Any, begin: int | None) -> Batch:
    """The next records of what was fetched: none, if there are only marks of transactions.

    Reads the producers' batches themselves: what aiokafka does for each record costs as much as to count it.
    """
    source, sent_batches = internals.undecoded(result)
    if begin is None:
        begin = source.next_fetch_offset
    first: int | None = None
    parts: list[Iterable[Any]] = []
    count = 0
    while count < RECORDS_MAX and sent_batches.has_next():
        sent = sent_batches.next_batch()
        if not sent.is_control_batch:
            records: Iterable[Any] = sent
            at = getattr(sent, "base_offset", -1)  # those of Kafka's old formats do not say
            if at < source.next_fetch_offset:  # its head was read before
                records = [record for record in sent if record.offset >= source.next_fetch_offset]
                at = records[0].offset if records else None
            if first is None:
                first = at
            parts.append(iter(records))  # which is where a compressed one is unpacked
            count += sent.next_offset - source.next_fetch_offset
        source.next_fetch_offset = max(source.next_fetch_offset, sent.next_offset)
    internals.set_position(result)
    if not sent_batches.has_next():
        internals.set_read(result)
    return Batch(begin, source.next_fetch_offset, first, chain.from_iterable(parts))
