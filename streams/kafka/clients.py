"""``Kafka``: makes every client of Kafka in this project, so that one place says how Kafka is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient

from streams.settings.table import Settings


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where Kafka is and how its clients connect. Immutable; its methods make clients that are not started yet.

    ``brokers``: ``host:port``, or several of them separated by commas.
    """

    brokers: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select what concerns Kafka from ``settings``."""
        return cls(settings.broker)

    def options(self, **more: Any) -> dict[str, Any]:
        """The options about connections that each class of aiokafka takes, and ``more``, which go before."""
        return {"bootstrap_servers": self.brokers, **more}

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """A consumer. ``options``: more options of aiokafka's class."""
        return AIOKafkaConsumer(*topics, **self.options(**options))

    def producer(self, **options: Any) -> AIOKafkaProducer:
        """A producer. ``options``: more options of aiokafka's class."""
        return AIOKafkaProducer(**self.options(**options))

    def client(self, **options: Any) -> AIOKafkaClient:
        """A client for single requests. ``options``: more options of aiokafka's class."""
        return AIOKafkaClient(**self.options(**options))

    def admin(self, **options: Any) -> AIOKafkaAdminClient:
        """A client for requests about topics and groups. ``options``: more options of aiokafka's class."""
        return AIOKafkaAdminClient(**self.options(**options))
