"""What was not counted: dead letters with the headers that say why, misrouted events, and the bytes of both."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from ecounters.partition.records import MISROUTED, Uncounted
from streams.engine.dead_letters import (
    DEAD_LETTER_BYTES,
    DEAD_LETTER_KEY_MAX,
    DEAD_LETTER_VALUE_MAX,
    UncountedBuffer,
)
from streams.engine.refusals import RefusalLog
from streams.metrics.catalogue import Metrics

WAITING: Final = 100


@dataclass
class Record:
    """A record of the topic of events."""

    offset: int
    value: bytes | None
    key: bytes | None = b"key"
    timestamp: int = 0


def buffer() -> tuple[UncountedBuffer, Metrics]:
    """An empty buffer of partition 3, and its metrics."""
    metrics = Metrics.create(CollectorRegistry())
    return UncountedBuffer("events", 3, metrics, RefusalLog()), metrics


def test_a_dead_letter_is_the_message_and_says_why() -> None:
    """Key and value are as they came; the headers have the reason, the field and where the event was read."""
    uncounted, metrics = buffer()
    uncounted.add([Uncounted(Record(17, b"{}", key=b"u1"), "missing", "callId")])
    (letter,), misrouted = uncounted.drain()
    assert (letter.key, letter.value, misrouted) == (b"u1", b"{}", [])
    assert letter.headers == [
        ("reason", b"missing"), ("field", b"callId"), ("topic", b"events"), ("partition", b"3"), ("offset", b"17"),
    ]  # fmt: skip
    assert metrics.refused.labels("missing")._value.get() == 1


def test_each_dead_letter_has_its_own_offset() -> None:
    """Headers are shared between dead letters of one reason and field, the offset is not."""
    uncounted, _ = buffer()
    uncounted.add([Uncounted(Record(at, b"{}"), "missing", "callId") for at in (1, 2)])
    uncounted.add([Uncounted(Record(3, b"{}"), "missing", "legId")])
    letters, _ = uncounted.drain()
    assert [dict(letter.headers)["offset"] for letter in letters] == [b"1", b"2", b"3"]
    assert [dict(letter.headers)["field"] for letter in letters] == [b"callId", b"callId", b"legId"]


def test_misrouted_events_are_kept_apart() -> None:
    """They are no dead letters: each is to be sent to the partition of its user."""
    uncounted, metrics = buffer()
    event = Uncounted(Record(1, b"{}"), MISROUTED, "userId", "u9")
    uncounted.add([event, Uncounted(Record(2, None), "empty", "")])
    letters, misrouted = uncounted.drain()
    assert [(one.record.offset, one.record.value, one.user_id) for one in misrouted] == [(1, b"{}", "u9")]
    assert len(letters) == 1
    assert letters[0].value is None
    assert metrics.misrouted._value.get() == 1
    assert metrics.refused.labels("empty")._value.get() == 1


def test_bytes_are_of_what_waits() -> None:
    """They grow with each record and its value, and are 0 again after ``drain``."""
    uncounted, _ = buffer()
    uncounted.add([Uncounted(Record(1, b"12345"), "missing", ""), Uncounted(Record(2, None), MISROUTED, "")])
    assert uncounted.bytes == 2 * DEAD_LETTER_BYTES + 5
    uncounted.drain()
    letters, misrouted = uncounted.drain()
    assert (uncounted.bytes, len(letters), misrouted) == (0, 0, [])


def test_a_message_that_is_too_large_is_truncated() -> None:
    """The topic of dead letters would refuse it again and again; the header ``size`` says how long it was."""
    uncounted, _ = buffer()
    key, value = b"k" * (DEAD_LETTER_KEY_MAX + 1), b"v" * (DEAD_LETTER_VALUE_MAX + 1)
    uncounted.add([Uncounted(Record(1, value, key=key), "not_json", "")])
    uncounted.add([Uncounted(Record(2, value[:-1], key=key[:-1]), "not_json", "")])
    (large, largest), _ = uncounted.drain()
    assert (large.key, large.value) == (key[:-1], value[:-1])
    assert dict(large.headers)["size"] == b"%d" % len(value)
    assert (largest.key, largest.value, "size" in dict(largest.headers)) == (key[:-1], value[:-1], False)


def test_records_that_cannot_be_read_are_one_dead_letter() -> None:
    """It has their offsets and, if it fits, the record batch as the broker has sent it."""
    metrics = Metrics.create(CollectorRegistry())
    uncounted = UncountedBuffer("events", 3, metrics, RefusalLog())
    uncounted.add_unreadable(5, 8, memoryview(b"damaged"))
    uncounted.add_unreadable(9, 9, memoryview(bytes(DEAD_LETTER_VALUE_MAX + 1)))
    letters, _ = uncounted.drain()
    head = [("reason", b"unreadable"), ("field", b""), ("topic", b"events"), ("partition", b"3")]
    too_large = b"%d" % (DEAD_LETTER_VALUE_MAX + 1)
    assert [(letter.key, letter.value, letter.headers) for letter in letters] == [
        (None, b"damaged", [*head, ("offset", b"5"), ("last_offset", b"8"), ("size", b"7")]),
        (None, None, [*head, ("offset", b"9"), ("last_offset", b"9"), ("size", too_large)]),
    ]
    assert metrics.refused.labels("unreadable")._value.get() == 2


def test_the_garbage_collector_visits_nothing_of_what_waits() -> None:
    """A full collection is one step of the event loop, and a flood of bad events may wait for a flush."""
    refused, misrouted = buffer()[0], buffer()[0]
    refused.add([Uncounted(Record(at, b"%d" % at), "missing", "callId") for at in range(WAITING)])
    misrouted.add([Uncounted(Record(at, b"%d" % at), MISROUTED, "", f"u{at}") for at in range(WAITING)])
    gc.collect()
    waiting = [*refused.dead_letters, *misrouted.misrouted]
    assert len(waiting) == 2 * WAITING
    assert not any(map(gc.is_tracked, (*waiting, *(one.record for one in misrouted.misrouted))))
