"""Letters: what a partition's state would not count, until the next flush takes it to where it belongs."""

from __future__ import annotations

from typing import Any, Final

from ecounters.partition.records import MISROUTED, Uncounted
from streams.kafka.outbox import DeadLetter, Headers
from streams.metrics.catalogue import Metrics

LETTER_BYTES: Final = 400
"""About what a dead letter takes in memory beside the message; most of its headers are shared."""
LETTER_HEADERS: Final = ("reason", "field", "topic", "partition")
"""Those that are the same for many; ``offset`` comes on top."""
LETTER_VALUE_MAX: Final = 900_000
LETTER_KEY_MAX: Final = 50_000
"""What a topic takes by default, 1 MiB in all. A message that came compressed can be larger, and its letter would be
refused by the broker again and again: it is cut, and the header ``size`` says how long it was."""


class UncountedBuffer:
    """Of one partition of that topic. ``bytes``: about what is kept. ``dead`` go to the dead letters, ``misrouted``
    to their own partition."""

    def __init__(self, topic: str, partition: int, metrics: Metrics) -> None:
        self.bytes = 0
        self.dead: list[DeadLetter] = []
        self.misrouted: list[Uncounted] = []
        self._origin = topic, str(partition)
        self._metrics = metrics
        self._heads: dict[tuple[str, str], Headers] = {}

    def add(self, refused: list[Uncounted]) -> None:
        """Keep what is not counted here. A flood comes through here: little is done for each."""
        counts: dict[str, int] = {}
        for one in refused:
            counts[one.reason] = counts.get(one.reason, 0) + 1
            self.bytes += LETTER_BYTES + len(one.record.value or b"")
            if one.reason == MISROUTED:
                self.misrouted.append(one)
            else:
                self.dead.append(self._letter(one))
        self._metrics.misrouted.inc(counts.pop(MISROUTED, 0))
        for reason, count in counts.items():
            self._metrics.refused.labels(reason).inc(count)

    def take(self) -> tuple[list[DeadLetter], list[Uncounted]]:
        """(dead, misrouted) since the last time."""
        taken = self.dead, self.misrouted
        self.dead, self.misrouted, self.bytes = [], [], 0
        return taken

    def _letter(self, refused: Uncounted) -> DeadLetter:
        record: Any = refused.record
        kind = refused.reason, refused.field
        head = self._heads.get(kind)
        if head is None:
            texts = zip(LETTER_HEADERS, (*kind, *self._origin), strict=True)
            head = self._heads[kind] = [(name, text.encode()) for name, text in texts]
        key, value, headers = record.key, record.value, [*head, ("offset", b"%d" % record.offset)]
        if value and len(value) > LETTER_VALUE_MAX:
            value = value[:LETTER_VALUE_MAX]
            headers.append(("size", b"%d" % len(record.value)))
        return DeadLetter(key and key[:LETTER_KEY_MAX], value, headers)
