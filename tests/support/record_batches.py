"""Record batches in the bytes that a broker sends."""

from __future__ import annotations

from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder


def batch(offset: int, values: list[bytes], compression: int = 0) -> bytearray:
    """A record batch whose first offset is ``offset``. ``compression``: Kafka's number of the codec; 0: none."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1_000_000,
    )  # fmt: skip
    for at, value in enumerate(values):
        assert builder.append(at, timestamp=1_773_144_000_000, key=b"u1", value=value, headers=[]) is not None
    made: Any = builder.build()
    made[:8] = offset.to_bytes(8, "big")
    return bytearray(made)
