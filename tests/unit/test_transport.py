"""What the transport says of a partition while the consumer's thread changes what is assigned."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from streams.transport import ConsumerThread

HERE, GONE = TP("events", 0), TP("events", 1)


def test_nothing_is_known_of_a_partition_that_is_not_assigned() -> None:
    """Before a subscription, before an assignment, and after a rebalance has taken the partition away: no error."""

    async def test() -> None:
        consumer = AIOKafkaConsumer()
        thread = ConsumerThread.__new__(ConsumerThread)
        thread._consumer = consumer
        assert thread.fetch_state(HERE) == (None, None)
        consumer.subscribe(["events"])
        assert thread.fetch_state(HERE) == (None, None)
        consumer._subscription.assign_from_subscribed([TopicPartition(*HERE), TopicPartition(*GONE)])
        assert thread.fetch_state(HERE) == (None, None)
        known = consumer._subscription.subscription.assignment.state_value(HERE)
        known.highwater, known.timestamp = 7, 1_500
        assert thread.fetch_state(HERE) == (7, 1.5)
        consumer._subscription.assign_from_subscribed([TopicPartition(*HERE)])
        assert thread.fetch_state(GONE) == (None, None)
        await consumer.stop()

    asyncio.run(test())
