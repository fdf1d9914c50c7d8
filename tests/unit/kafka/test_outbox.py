"""An outbox holds the content of one transaction in as many batches as it needs."""

from __future__ import annotations

from streams.kafka.outbox import DeadLetter, Outbox
from tests.support.small_batches import SmallBatch

ROOM = 3


def outbox() -> Outbox:
    """An empty outbox, whose batches take three messages."""
    return Outbox(lambda: SmallBatch(ROOM))


def entries(count: int) -> list[tuple[bytes, bytes | None]]:
    """Changelog entries with the keys 0, 1, 2 ..."""
    return [(b"%d" % number, b"value") for number in range(count)]


def test_entries_are_added_in_steps_and_in_order() -> None:
    """Each step takes ``limit`` entries, and the last one says that there are no more."""
    box, source = outbox(), iter(entries(7))
    assert [box.add_entries(source, 3) for _ in range(3)] == [True, True, False]
    assert (box.entries, box.last_key) == (7, b"6")
    keys = [[message["key"] for message in batch.messages] for batch in box.changelog_batches]
    assert keys == [[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"]]


def test_a_step_that_adds_nothing_keeps_the_last_key() -> None:
    """The iterator may end exactly with a step."""
    box, source = outbox(), iter(entries(2))
    assert box.add_entries(source, 2) is True
    assert box.add_entries(source, 2) is False
    assert (box.entries, box.last_key) == (2, b"1")


def test_dead_letters_have_batches_of_their_own() -> None:
    """With their key, value and headers as they are; none of them is an entry."""
    box = outbox()
    assert not box.has_dead_letters
    letters = [DeadLetter(None, b"%d" % n, [("reason", b"not_json")], n) for n in range(ROOM + 1)]
    for letter in letters:
        box.add_dead_letter(letter)
    assert box.has_dead_letters
    assert [batch.record_count() for batch in box.dlq_batches] == [ROOM, 1]
    messages = [message for batch in box.dlq_batches for message in batch.messages]
    assert messages == [
        {
            "timestamp": None,
            "key": None,
            "value": b"%d" % n,
            "headers": [("reason", b"not_json"), ("offset", b"%d" % n)],
        }
        for n in range(ROOM + 1)
    ]
    assert (box.entries, box.last_key, box.changelog_batches[0].record_count()) == (0, None, 0)
