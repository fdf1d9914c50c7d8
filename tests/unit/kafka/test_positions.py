"""Saved positions, where records of the changelog are damaged, or the program is."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.kafka import positions
from streams.kafka.clients import Kafka
from streams.kafka.positions import known_positions
from streams.kafka.record_batches import DAMAGE, HEADER

NOBODY = Kafka("127.0.0.1:1")


@pytest.mark.parametrize("error", [AttributeError, KeyError, ValueError, TypeError, RuntimeError, ConnectionError])
def test_a_fault_of_the_program_is_no_damage(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised, instead of hidden by reading all partitions from start to end."""

    async def fail(*_: Any) -> None:
        raise error("a fault")

    def read_all(*_: Any) -> None:
        pytest.fail("all partitions are read")

    monkeypatch.setattr(positions, "read_positions", fail)
    monkeypatch.setattr(positions, "keyed_reader", read_all)
    with pytest.raises(error, match="a fault"):
        asyncio.run(known_positions(NOBODY, "changelog", 4, ()))


@pytest.mark.parametrize("codec", range(5))
def test_whatever_bytes_are_damaged_an_error_that_is_named_says_it(codec: int) -> None:
    """Also where the checksum is right, as a broken producer makes them."""
    builder = DefaultRecordBatchBuilder(2, codec, True, 7, 1, 0, 100_000)
    for at in range(20):
        builder.append(at, None, b"key%d" % at, b"a value of some length" * 3, [("header", b"x")])
    sound, chosen, raised = bytes(builder.build()), random.Random(codec), 0
    for _ in range(100):
        damaged = bytearray(sound[: chosen.choice((len(sound), chosen.randrange(HEADER.size, len(sound))))])
        damaged[chosen.randrange(HEADER.size, len(sound)) % len(damaged)] ^= chosen.randrange(1, 256)
        struct.pack_into(">i", damaged, 8, len(damaged) - 12)
        damaged[22] ^= chosen.choice((0, 0, chosen.randrange(8)))
        struct.pack_into(">I", damaged, 17, calc_crc32c(bytes(damaged[21:])))
        try:
            list(DefaultRecordBatch(bytes(damaged)))
        except DAMAGE:
            raised += 1
    assert raised > 50
