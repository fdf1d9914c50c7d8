"""The connections over which a worker writes its changelogs: few for many partitions.

Each partition has a transactional id, so each has an ``AIOKafkaProducer``. aiokafka gives each producer a client of its
own, with two connections to each broker: one for records, one for the coordinator of transactions. With 256 partitions
that were 514 connections to one broker, and most of the time of a start went into opening them.

Here partitions share clients. Partition p uses the client number p modulo CLIENTS_MAX. A broker handles the requests of
one connection one after the other, and holds a Produce request until all copies have the records. So one client for all
would let each partition wait for all others.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender

from streams.kafka.clients import Kafka

CLIENTS_MAX: Final = 8
"""A worker has at most so many clients for its changelogs, so at most twice as many connections to each broker. With up
to so many partitions each has a client of its own."""
REQUEST_LIMIT_S: Final = 15.0
"""How long a request may take. Then aiokafka closes the connection, and all requests on it fail."""
RETRY_BACKOFF_MS: Final = 100
"""aiokafka's pause before it sends a request again."""
ADDED_POLL_S: Final = 0.002
"""The pause between two looks at whether a partition was added to a transaction."""
UNCOMPRESSED: Final = 0
"""aiokafka's number of no compression."""


class SharedClient(AIOKafkaClient):  # type: ignore[misc]
    """A client that several producers use at the same time.

    aiokafka's class opens one connection after the other, also several in a row to one broker that does not answer; a
    connection to another broker waits behind them. Here all that need one connection wait for one attempt.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._attempts: dict[tuple[Any, Any], asyncio.Task[AIOKafkaConnection | None]] = {}

    async def _get_conn(
        self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> AIOKafkaConnection | None:
        """The connection to a broker; None if it cannot be opened."""
        wanted = node_id, group
        connection = self._conns.get(wanted)
        if connection is not None and connection.connected():
            return connection
        attempt = self._attempts.get(wanted)
        if attempt is None:
            opening = super()._get_conn(node_id, group=group, no_hint=no_hint)
            attempt = self._attempts[wanted] = asyncio.create_task(opening, name=f"connect to broker {node_id}")
            attempt.add_done_callback(lambda _: self._attempts.pop(wanted, None))
        return await asyncio.shield(attempt)

    @property
    def is_connected(self) -> bool:
        """Whether any connection is open."""
        return any(connection.connected() for connection in self._conns.values())

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Send a request and return the response. Raises KafkaError."""
        try:
            return await super().send(node_id, request, group=group)
        except KeyError:  # another user of the client is just replacing the connection
            raise KafkaConnectionError(f"the connection to broker {node_id} was closed") from None


class SharingProducer(AIOKafkaProducer):  # type: ignore[misc]
    """A transactional producer that uses ``client``, which is connected, in place of one of its own.

    ``stop`` leaves the client as it is. Takes the options of aiokafka's class, of which these three must be given.
    """

    def __init__(
        self,
        client: SharedClient,
        *,
        transactional_id: str,
        transaction_timeout_ms: int,
        max_batch_size: int,
        **more: Any,
    ) -> None:
        super().__init__(
            transactional_id=transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            max_batch_size=max_batch_size,
            **more,
        )
        self._unused_client: AIOKafkaClient = vars(self)["client"]  # it never connects
        self.client = client
        self._metadata = client.cluster
        self._message_accumulator = MessageAccumulator(
            client.cluster, max_batch_size, UNCOMPRESSED, REQUEST_LIMIT_S, txn_manager=self._txn_manager
        )
        self._sender = Sender(
            client,
            acks=-1,
            txn_manager=self._txn_manager,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            message_accumulator=self._message_accumulator,
            request_timeout_ms=int(REQUEST_LIMIT_S * 1000),
        )

    async def start(self) -> None:
        """Take the transactional id over. Raises KafkaError, or AssertionError while no broker is known."""
        await self._sender.start()

    async def add_partition(self, tp: TopicPartition) -> None:
        """Add a partition to the open transaction without a record, and return once the coordinator has it.

        Raises TopicAuthorizationFailedError if the client may not write to the topic: then only ``abort_transaction``
        may follow. Raises KafkaError otherwise if the transaction has failed.
        """
        transaction = self._txn_manager
        transaction.maybe_add_partition_to_txn(tp)
        while tp not in transaction.txn_partitions:
            ended = transaction.wait_for_transaction_end()
            if ended.done():
                ended.result()
            await asyncio.sleep(ADDED_POLL_S)

    async def stop(self) -> None:
        """Send what is left, and end the sending task."""
        self.client = self._unused_client  # aiokafka's method closes the client
        await super().stop()


class SharedClients:
    """The clients for the changelogs of a worker. Each connects when it is asked for, and stays until ``close``."""

    def __init__(self, kafka: Kafka) -> None:
        """``kafka``: to its client id "-state-" and the client's number are added."""
        self._kafka = kafka
        self._clients: dict[int, SharedClient] = {}
        self._locks = [asyncio.Lock() for _ in range(CLIENTS_MAX)]

    async def of(self, partition: int) -> SharedClient:
        """The client of a partition, connected. Raises KafkaError if no broker can be reached.

        A client that has lost all of its connections asks the configured addresses again: all brokers may have moved.
        """
        number = partition % CLIENTS_MAX
        async with self._locks[number]:
            client = self._clients.get(number)
            if client is None:
                client = self._clients[number] = SharedClient(
                    **self._kafka.options(
                        client_id=f"{self._kafka.client_id}-state-{number}",
                        request_timeout_ms=int(REQUEST_LIMIT_S * 1000),
                    )
                )
            if not client.is_connected:
                await client.bootstrap()
            return client

    async def close(self) -> None:
        """Close all connections. Raises KafkaError if that fails."""
        clients, self._clients = self._clients, {}
        await asyncio.gather(*(client.close() for client in clients.values()))
