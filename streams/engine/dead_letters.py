"""Records that a partition's state did not count, kept until the next flush sends each to where it belongs."""

from __future__ import annotations

from typing import Any, Final

from ecounters.partition.records import MISROUTED, Uncounted
from streams.kafka.outbox import DeadLetter, Headers
from streams.metrics.catalogue import Metrics

DEAD_LETTER_BYTES: Final = 400
"""About what a dead letter takes in memory besides its message; most of its headers are shared with others."""
DEAD_LETTER_HEADERS: Final = ("reason", "field", "topic", "partition")
"""The headers that are the same for many dead letters; ``offset``, and for a truncated message ``size``, are added."""
DEAD_LETTER_VALUE_MAX: Final = 900_000
DEAD_LETTER_KEY_MAX: Final = 50_000
"""Bytes of the value and of the key. Together they fit into the 1 MiB that a topic accepts by default: a message that
was larger (it came compressed) would be refused again and again. It is truncated; the header ``size`` has the bytes
of the whole value."""


class UncountedBuffer:
    """What one partition did not count since the last flush. ``topic`` and ``partition`` are those of the events.

    | field        | meaning                                                                        |
    |--------------|--------------------------------------------------------------------------------|
    | dead_letters | for the topic of dead letters: they are written in the flush's transaction     |
    | misrouted    | events of users of other partitions: they are sent there before the flush      |
    | bytes        | about what both take in memory                                                 |

    ``add`` and ``drain`` change all three. ``add`` also counts in the metrics ``refused`` and ``misrouted``.
    """

    def __init__(self, topic: str, partition: int, metrics: Metrics) -> None:
        self.bytes = 0
        self.dead_letters: list[DeadLetter] = []
        self.misrouted: list[Uncounted] = []
        self._origin = topic, str(partition)
        self._metrics = metrics
        self._shared_headers: dict[tuple[str, str], Headers] = {}  # by (reason, field)

    def add(self, uncounted: list[Uncounted]) -> None:
        """Keep records that were not counted. Written for a flood of them: little is done for each."""
        counts: dict[str, int] = {}
        for item in uncounted:
            counts[item.reason] = counts.get(item.reason, 0) + 1
            self.bytes += DEAD_LETTER_BYTES + len(item.record.value or b"")
            if item.reason == MISROUTED:
                self.misrouted.append(item)
            else:
                self.dead_letters.append(self._dead_letter(item))
        self._metrics.misrouted.inc(counts.pop(MISROUTED, 0))
        for reason, count in counts.items():
            self._metrics.refused.labels(reason).inc(count)

    def drain(self) -> tuple[list[DeadLetter], list[Uncounted]]:
        """(dead letters, misrouted events) since the last ``drain``; the buffer is empty after it."""
        drained = self.dead_letters, self.misrouted
        self.dead_letters, self.misrouted, self.bytes = [], [], 0
        return drained

    def _dead_letter(self, uncounted: Uncounted) -> DeadLetter:
        record: Any = uncounted.record
        why = uncounted.reason, uncounted.field
        shared = self._shared_headers.get(why)
        if shared is None:
            values = zip(DEAD_LETTER_HEADERS, (*why, *self._origin), strict=True)
            shared = self._shared_headers[why] = [(name, value.encode()) for name, value in values]
        key, value, headers = record.key, record.value, [*shared, ("offset", b"%d" % record.offset)]
        if value and len(value) > DEAD_LETTER_VALUE_MAX:
            value = value[:DEAD_LETTER_VALUE_MAX]
            headers.append(("size", b"%d" % len(record.value)))
        return DeadLetter(key and key[:DEAD_LETTER_KEY_MAX], value, headers)
