"""``BatchSender``: sends the batches of a transaction, and leaves out the records that the broker does not take.

A broker refuses a batch that is larger than the topic's ``max.message.bytes``. The records of a refused batch are sent
again in halves, until only single records are refused. They are left out: without them the transaction can be
committed, and with them it never could.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, RecordListTooLargeError

from streams.kafka import internals

TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
"""How a broker refuses a batch for its size: by the topic's ``max.message.bytes``, or by its ``segment.bytes``."""


class BatchSender:
    """Sends batches in the open transaction of a producer.

    Batches have sequence numbers, by which the broker notices one that is missing. aiokafka counts a refused batch as
    sent, so the broker refuses all batches behind it as well: the number must be set back, and they must be sent again.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def send(self, tp: TopicPartition, batches: Sequence[Any]) -> list[Any]:
        """Send the batches that are not empty, in order, and wait until all of them are acknowledged.

        Returns the records that are too large for the topic. Raises the first KafkaError of another kind.
        """
        sequence = internals.sequence_of(self._producer, tp)
        sent = []
        for batch in batches:
            if batch.record_count():
                batch.close()
                sent.append((batch, await self._producer.send_batch(batch, tp.topic, partition=tp.partition)))
        refused: list[tuple[Any, KafkaError]] = []  # from the first that is too large on
        for batch, acknowledgement in sent:
            try:
                await acknowledgement
            except TOO_LARGE as error:
                refused.append((batch, error))
            except OutOfOrderSequenceNumber as error:
                if not refused:
                    raise
                refused.append((batch, error))
            else:
                sequence += batch.record_count()
        if not refused:
            return []
        internals.set_sequence(self._producer, tp, sequence)
        left_out: list[Any] = []
        for batch, why in refused:
            again = self._send_halves if isinstance(why, TOO_LARGE) else self._send_records
            left_out += await again(tp, internals.records_of(batch))
        return left_out

    async def _send_records(self, tp: TopicPartition, records: Sequence[Any]) -> list[Any]:
        """Send records in one batch; if it is refused for its size, in halves. Returns those that are too large."""
        sequence = internals.sequence_of(self._producer, tp)
        batch = self._producer.create_batch()
        for index, record in enumerate(records):
            if batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                return await self._send_records(tp, records[:index]) + await self._send_records(tp, records[index:])
        batch.close()
        try:
            await (await self._producer.send_batch(batch, tp.topic, partition=tp.partition))
        except TOO_LARGE:
            internals.set_sequence(self._producer, tp, sequence)
            return await self._send_halves(tp, records)
        return []

    async def _send_halves(self, tp: TopicPartition, records: Sequence[Any]) -> list[Any]:
        """Send the records of a refused batch in two batches; return the record if it is only one."""
        if len(records) == 1:
            return list(records)
        middle = len(records) // 2
        return await self._send_records(tp, records[:middle]) + await self._send_records(tp, records[middle:])
