"""Rows of batches: in each of Kafka's codecs, damaged, with producers' timestamps that mean nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from tests.support.attacks.event_attack import EVENT_ATTACKS, EventAttack, Round, row
from tests.support.attacks.lots import CODECS, DAMAGED

BROKER_CHECKS: Final = bool(os.environ.get("ECOUNTERS_TEST_BROKER"))
"""Apache Kafka takes no damaged batch. The embedded broker stores what it gets."""


def one_call(one: Round) -> Iterator[bytes]:
    """A call whose events are long enough to be compressed: clients leave short ones as they are."""
    yield from one.encoded(one.call().started(0, "IBD", note="n" * 1_000).ringing(1).answered(2).ended(9))


EVENT_ATTACKS.extend(
    EventAttack(f"a_batch_in_{codec}", 1, one_call, {"TC": 1, "CNC": 1}, codec=codec) for codec in CODECS
)


@row(8, {"TC": 1, "CNC": 1}, stamp=lambda now_ms: now_ms // 1_000)
def producers_timestamps_in_seconds(one: Round) -> Iterator[bytes]:
    """A producer that stamps its records in seconds: by its time, all events would be ahead."""
    return one_call(one)


@row(8, {"TC": 1, "CNC": 1}, stamp=lambda now_ms: now_ms - 3_600_000)
def producers_timestamps_of_an_hour_ago(one: Round) -> Iterator[bytes]:
    """A producer whose clock is an hour behind."""
    return one_call(one)


if not BROKER_CHECKS:

    @row(1, {"TC": 0}, refused={"unreadable": 1}, every_s=2, codec=DAMAGED)
    def a_batch_that_cannot_be_unpacked(one: Round) -> Iterator[bytes]:
        """A batch whose checksum is right, and whose body is not of its codec."""
        yield b"{}"
