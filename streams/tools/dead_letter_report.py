"""Dead letters as people see them: grouped by reason and field, with samples, as lines of text."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from ecounters.errors import REASONS
from streams.basics.text import printable
from streams.basics.times import utc_text

SHOWN_BYTES: Final = 200
"""How many of the first bytes of a message a sample shows at most."""
SEARCHED_BYTES: Final = 65_536
"""How many of the first bytes of a message that is no JSON are searched for a user or an id."""


UNKNOWN: Final = "?"
"""The reason, topic or offset of a dead letter that does not say it: a worker did not write it."""


class StoredDeadLetter(NamedTuple):
    """A dead letter as it was read from its topic.

    ``reason``, ``field``: why the event was refused. ``topic``, ``partition``, ``offset``: where the event stands in
    the log. ``at_ms``: Kafka's timestamp of the dead letter, about when the event was refused. ``key``, ``value``: the
    event's; a worker truncates very large ones (see ``engine.dead_letters``). ``last_offset``: "" or, if the dead
    letter stands for several messages that cannot be read, the offset of the last one. ``size``: how many bytes the
    value had when it was refused.
    """

    reason: str
    field: str
    topic: str
    partition: int
    offset: str
    at_ms: int
    key: bytes | None
    value: bytes | None
    last_offset: str = ""
    size: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether this is one message, as it was: neither truncated nor a record batch that cannot be read."""
        return not self.last_offset and self.size <= len(self.value or b"")

    @property
    def user(self) -> str:
        """The account of the event; the key, as text, where the message names none."""
        return self.named("userId") or self._found("userId") or (self.key or b"").decode("utf-8", "replace")

    @property
    def event_id(self) -> str:
        """The id of the event; "" if the message has none."""
        return self.named("id") or self._found("id")

    def named(self, field: str) -> str:
        """A field of the event that is a text; "" without such a field, and for a message that is no JSON object."""
        try:
            event = orjson.loads(self.value or b"")
        except orjson.JSONDecodeError:
            return ""
        text = event.get(field) if isinstance(event, dict) else None
        return text if isinstance(text, str) else ""

    def _found(self, field: str) -> str:
        """A field as JSON writes it, anywhere in the beginning of the message, which may be cut or no JSON.

        So the messages of a switch that writes wrong JSON can be found by user and id, too.
        """
        found = re.search(rb'"%s"\s*:\s*"([^"\\]*)"' % field.encode(), (self.value or b"")[:SEARCHED_BYTES])
        return found[1].decode("utf-8", "replace") if found else ""

    @classmethod
    def of(cls, record: Any) -> StoredDeadLetter:
        """Read an aiokafka record. Other programs can write to the topic too, so any header may be missing or wrong.

        A missing reason, topic or offset becomes UNKNOWN, a missing field "". A missing or wrong partition becomes the
        partition of the record itself.
        """
        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers if value is not None}
        text = headers.get("partition", "")
        size = headers.get("size", "")
        partition = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else record.partition
        return cls(
            headers.get("reason", UNKNOWN), headers.get("field", ""), headers.get("topic", UNKNOWN), partition,
            headers.get("offset", UNKNOWN), record.timestamp, record.key, record.value, headers.get("last_offset", ""),
            int(size) if re.fullmatch(r"[0-9]{1,12}", size) else len(record.value or b""),
        )  # fmt: skip


class Sample(NamedTuple):
    """A dead letter that is kept to be shown. Samples sort by time, and by the order of reading within one ms.

    ``order``: of reading within its group. ``origin``: topic/partition/offset of the event. ``value``: the first
    SHOWN_BYTES of the message; ``kept``: how many bytes of the message the dead letter has; ``size``: how many the
    message had when it was refused.
    """

    at_ms: int
    order: int
    origin: str
    value: bytes | None
    kept: int
    size: int

    def line(self) -> str:
        """The sample as a line: topic/partition/offset of the event, when it was refused, and how it begins."""
        return f"  {printable(self.origin)}  {utc_text(self.at_ms, 'milliseconds')}  {self._beginning()}"

    def _beginning(self) -> str:
        if self.value is None:
            return f"(too large to be kept: {self.size:,} bytes)" if self.size else "(no message)"
        if not self.value:
            return "(empty)"
        if self.size <= SHOWN_BYTES:
            return printable(self.value)
        begin = printable(self.value[:SHOWN_BYTES], truncated=True)
        if self.kept < self.size:
            return f"{begin}… (truncated: the first {self.kept:,} of {self.size:,} bytes)"
        return f"{begin}… ({self.size:,} bytes)"


@dataclass(slots=True)
class Group:
    """The dead letters of one reason and field: how many, their first and last time, and the newest as samples.

    ``samples`` is a heap, with the oldest sample first.
    """

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    samples: list[Sample] = field(default_factory=list)

    def add(self, dead_letter: StoredDeadLetter, samples_max: int) -> None:
        """Count a dead letter, and keep it as a sample if it is among the newest ``samples_max`` of the group."""
        self.first_ms = min(self.first_ms, dead_letter.at_ms) if self.count else dead_letter.at_ms
        self.last_ms = max(self.last_ms, dead_letter.at_ms)
        self.count += 1
        full = len(self.samples) == samples_max
        if not samples_max or (full and self.samples[0].at_ms > dead_letter.at_ms):
            return
        origin = f"{dead_letter.topic}/{dead_letter.partition}/{dead_letter.offset}"
        if dead_letter.last_offset:
            origin += f"-{dead_letter.last_offset}"
        value = None if dead_letter.value is None else dead_letter.value[:SHOWN_BYTES]
        sample = Sample(dead_letter.at_ms, self.count, origin, value, len(dead_letter.value or b""), dead_letter.size)
        if full:
            heapq.heappushpop(self.samples, sample)
        else:
            heapq.heappush(self.samples, sample)


Groups = dict[tuple[str, str], Group]
"""(reason, field) -> group."""


def table_lines(groups: Groups) -> Iterator[str]:
    """A table with a row for each group, the largest group first; no line at all if there is no group."""
    if not groups:
        return
    rows = [("REASON", "FIELD", "COUNT", "FIRST SEEN", "LAST SEEN")]
    for (reason, name), group in _largest_first(groups):
        times = utc_text(group.first_ms, "seconds"), utc_text(group.last_ms, "seconds")
        rows.append((printable(reason), printable(name) or "-", f"{group.count:,}", *times))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for reason, name, count, first, last in rows:
        cells = [
            f"{reason:<{widths[0]}}",
            f"{name:<{widths[1]}}",
            f"{count:>{widths[2]}}",
            f"{first:<{widths[3]}}",
            last,
        ]
        yield "  ".join(cells).rstrip()


def sample_lines(groups: Groups) -> Iterator[str]:
    """The samples of each group, the newest first, below an empty line and a title with the meaning of the reason."""
    for (reason, name), group in _largest_first(groups):
        if group.samples:
            title = f"{reason}: {name}" if name else reason
            yield ""
            meaning = f": {REASONS[reason]}" if reason in REASONS else ""
            yield f"{printable(title)}, the last {len(group.samples)} of {group.count:,}{meaning}"
        for sample in sorted(group.samples, reverse=True):
            yield sample.line()


def _largest_first(groups: Groups) -> list[tuple[tuple[str, str], Group]]:
    return sorted(groups.items(), key=lambda item: (-item[1].count, item[0]))
