"""``UncountedBuffer``: records that a partition's state did not count, kept until the next flush sends them away."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from ecounters.partition.records import MISROUTED, Uncounted
from streams.engine.refusals import RefusalLog
from streams.kafka.outbox import DeadLetter, Headers
from streams.metrics.catalogue import Metrics

DEAD_LETTER_BYTES: Final = 400
"""About how many bytes of memory an uncounted record takes besides its value. A dead letter's headers add little:
most of them are shared."""
DEAD_LETTER_HEADERS: Final = ("reason", "field", "topic", "partition")
"""The headers that dead letters of one partition share if they have the same reason and field. ``_why``
gives the values in this order. Each dead letter also has ``offset``, and ``size`` if its value was truncated."""
DEAD_LETTER_VALUE_MAX: Final = 1_900_000
DEAD_LETTER_KEY_MAX: Final = 50_000
"""The value and the key of a dead letter are truncated to these lengths, in bytes. Together they fit into the 2 MiB
that the topic of dead letters takes. An event can be larger, because Kafka limits its compressed size. If the topic
takes less, the dead letter is written without its value: see ``ChangelogWriter.write``."""


class _KeptRecord(Struct, gc=False):
    """What is kept of the record of a misrouted event: unlike aiokafka's, the garbage collector does not visit it."""

    offset: int
    key: bytes | None
    value: bytes | None
    value_size: int | None
    timestamp: int


def _kept(uncounted: Uncounted) -> Uncounted:
    """The same with a _KeptRecord."""
    record: Any = uncounted.record
    size = getattr(record, "value_size", None)
    return replace(uncounted, record=_KeptRecord(record.offset, record.key, record.value, size, record.timestamp))


def _bytes_of(uncounted: Uncounted) -> int:
    """About how many bytes of memory it takes."""
    return DEAD_LETTER_BYTES + len(uncounted.record.value or b"")


class UncountedBuffer:
    """The records that one partition did not count since its last flush or restore.

    ``topic`` and ``partition``: where the records were read; they become headers of the dead letters.

    | field        | meaning                                                                        |
    |--------------|--------------------------------------------------------------------------------|
    | dead_letters | refused records; the flush writes them in its transaction                      |
    | misrouted    | events of users of other partitions; the flush sends them before its           |
    |              | transaction                                                                    |
    | bytes        | about how many bytes of memory both lists take                                 |

    ``add`` fills the lists, ``drain`` empties them, ``take_misrouted`` one of them. ``add`` also increments the metrics
    ``refused`` and ``misrouted``, and tells ``refusals``, which is of the whole worker.
    """

    def __init__(self, topic: str, partition: int, metrics: Metrics, refusals: RefusalLog) -> None:
        self.bytes = 0
        self.dead_letters: deque[DeadLetter] = deque()
        self.misrouted: list[Uncounted] = []
        self._misrouted_bytes = 0  # counted along: there may be 100,000 of them
        self._origin = topic, str(partition)
        self._metrics = metrics
        self._refusals = refusals
        self._shared_headers: dict[tuple[str, str], Headers] = {}  # by (reason, field)

    def add(self, uncounted: list[Uncounted]) -> None:
        """Keep uncounted records until ``drain``, and count them in the metrics.

        A metric is incremented once a call, not once a record, because a faulty switch can send a flood of bad events.
        """
        kinds: dict[tuple[str, str], list[Uncounted]] = {}
        for item in uncounted:
            kinds.setdefault((item.reason, item.field), []).append(item)
            size = _bytes_of(item)
            self.bytes += size
            if item.reason == MISROUTED:
                self.misrouted.append(_kept(item))
                self._misrouted_bytes += size
            else:
                self.dead_letters.append(self._dead_letter(item))
        for (reason, field), items in kinds.items():
            if reason == MISROUTED:
                self._metrics.misrouted.inc(len(items))
            else:
                self._refused(reason, field, len(items), items[-1].record.offset)

    def take_misrouted(self) -> tuple[list[Uncounted], int]:
        """Return the misrouted events and about how many bytes they take, and keep them no longer."""
        taken, size = self.misrouted, self._misrouted_bytes
        self.misrouted, self._misrouted_bytes = [], 0
        self.bytes -= size
        return taken, size

    def put_back(self, misrouted: list[Uncounted], size: int) -> None:
        """Keep again what ``take_misrouted`` has returned. Counts nothing in the metrics."""
        self.misrouted[:0] = misrouted
        self._misrouted_bytes += size
        self.bytes += size

    def add_refused(self, misrouted: list[Uncounted]) -> None:
        """Keep misrouted events that cannot be sent to their partitions as dead letters. Counts them."""
        self.dead_letters += self.dead_letters_of(misrouted)
        self.bytes += sum(map(_bytes_of, misrouted))

    def dead_letters_of(self, uncounted: list[Uncounted]) -> list[DeadLetter]:
        """Make dead letters of records that were misrouted, and cannot be sent to their partitions. Counts them."""
        for item in uncounted:
            self._refused(item.reason, item.field, 1, item.record.offset)
        return [self._dead_letter(item) for item in uncounted]

    def add_unreadable(self, first: int, last: int, sent: memoryview) -> None:
        """Keep the records at the offsets ``first`` to ``last``, which cannot be read, as one dead letter.

        ``sent``: the record batch as the broker has sent it. It becomes the value, if it is not too large for it.
        """
        value = bytes(sent) if len(sent) <= DEAD_LETTER_VALUE_MAX else None
        why = self._why("unreadable", "")
        self.dead_letters.append(DeadLetter(None, value, why, first, last, len(sent)))
        self.bytes += DEAD_LETTER_BYTES + len(value or b"")
        self._refused("unreadable", "", 1, first)

    def drain(self) -> tuple[deque[DeadLetter], list[Uncounted]]:
        """Return (dead letters, misrouted events) since the last ``drain``, and empty the buffer.

        Take the dead letters out one by one: to free all of a flood at once takes 20 ms.
        """
        drained = self.dead_letters, self.misrouted
        self.dead_letters, self.misrouted, self.bytes, self._misrouted_bytes = deque(), [], 0, 0
        return drained

    def _refused(self, reason: str, field: str, count: int, last: int) -> None:
        """Count refusals of one kind in the metrics, and log them now and then. ``last``: the offset of the last."""
        self._metrics.refused.labels(reason).inc(count)
        self._refusals.note(reason, field, count, "/".join((*self._origin, str(last))))

    def _dead_letter(self, uncounted: Uncounted) -> DeadLetter:
        """Make the dead letter of a refused record: its key and value, truncated, and headers that say why."""
        record: Any = uncounted.record
        key, value, size = record.key, record.value, None
        if value and len(value) > DEAD_LETTER_VALUE_MAX:
            # Only some records have ``value_size``: those whose value was cut already when they were unpacked.
            size = getattr(record, "value_size", None) or len(value)
            value = value[:DEAD_LETTER_VALUE_MAX]
        why = self._why(uncounted.reason, uncounted.field)
        return DeadLetter(key and key[:DEAD_LETTER_KEY_MAX], value, why, record.offset, size=size)

    def _why(self, reason: str, field: str) -> Headers:
        """The headers that say why, and where it was read. Dead letters of one reason and field share them."""
        why = self._shared_headers.get((reason, field))
        if why is None:
            values = zip(DEAD_LETTER_HEADERS, (reason, field, *self._origin), strict=True)
            why = self._shared_headers[reason, field] = [(name, value.encode()) for name, value in values]
        return why
