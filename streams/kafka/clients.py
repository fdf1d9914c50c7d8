"""``Kafka``: makes every client of Kafka in this project, so that one place says how Kafka is reached."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import AuthenticationFailedError

from streams.basics.tls import client_context
from streams.kafka import internals
from streams.settings.kafka_access import OAUTH, read_token
from streams.settings.table import Settings

Fetch = Callable[..., Awaitable[bool]]
"""aiokafka's fetch: sends one request, keeps the records and errors of the response, and returns whether it has any."""


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """Gives the token in a file to each new connection. The file is read each time, as something else renews it."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def token(self) -> str:
        """The token. Raises AuthenticationFailedError if the file has none."""
        try:
            return read_token(self._path)
        except ValueError as error:
            raise AuthenticationFailedError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where Kafka is and how its clients connect. Immutable; its methods make clients that are not started yet.

    ``brokers``: ``host:port``, or several of them separated by commas. ``client_id``: a name for the brokers' logs and
    quotas. ``protocol`` and ``mechanism``: as the settings have them. ``user`` and ``password``: for PLAIN and SCRAM.
    ``token_file``: for OAUTHBEARER. ``ca``, ``certificate`` and ``key``: paths, see ``tls.client_context``.

    The files are read whenever a client is made: certificates that were renewed are used from then on.
    """

    brokers: str
    client_id: str = "ecounters"
    protocol: str = "plaintext"
    mechanism: str = ""
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    token_file: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select what concerns Kafka from ``settings``."""
        own_name = "-".join(filter(None, (settings.app_id, settings.instance_id)))
        return cls(
            brokers=settings.broker,
            client_id=settings.kafka_client_id or own_name,
            protocol=settings.kafka_protocol,
            mechanism=settings.kafka_mechanism,
            user=settings.kafka_user,
            password=settings.kafka_password,
            token_file=settings.kafka_token_file,
            ca=settings.kafka_ca,
            certificate=settings.kafka_cert,
            key=settings.kafka_key,
        )

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol.endswith("ssl")

    @property
    def has_sasl(self) -> bool:
        """Whether clients log in by SASL."""
        return self.protocol.startswith("sasl")

    def security(self) -> dict[str, Any]:
        """The options about encryption and log-in that each class of aiokafka takes.

        Raises AuthenticationFailedError, a KafkaError, if a file of a certificate or key cannot be used any more.
        """
        options: dict[str, Any] = {"security_protocol": self.protocol.upper()}
        if self.has_tls:
            try:
                options["ssl_context"] = client_context(self.ca, self.certificate, self.key)
            except ValueError as error:
                raise AuthenticationFailedError(str(error)) from None
        if self.has_sasl:
            options["sasl_mechanism"] = self.mechanism
            if self.mechanism == OAUTH:
                options["sasl_oauth_token_provider"] = TokenFile(self.token_file)
            else:
                options |= {"sasl_plain_username": self.user, "sasl_plain_password": self.password}
        return options

    def options(self, **more: Any) -> dict[str, Any]:
        """The options about connections that each class of aiokafka takes, and ``more``, which go before."""
        return {"bootstrap_servers": self.brokers, "client_id": self.client_id, **self.security(), **more}

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """A consumer. ``options``: more options of aiokafka's class."""
        return _Consumer(*topics, **self.options(**options))

    def producer(self, **options: Any) -> AIOKafkaProducer:
        """A producer. ``options``: more options of aiokafka's class."""
        return AIOKafkaProducer(**self.options(**options))

    def client(self, **options: Any) -> AIOKafkaClient:
        """A client for single requests. ``options``: more options of aiokafka's class."""
        return AIOKafkaClient(**self.options(**options))

    def admin(self, **options: Any) -> AIOKafkaAdminClient:
        """A client for requests about topics and groups. ``options``: more options of aiokafka's class."""
        return AIOKafkaAdminClient(**self.options(**options))


class _Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka's classes have no types here
    """A consumer whose ``stop`` does not raise CancelledError, which would end a task that nobody has cancelled."""

    async def start(self) -> None:
        await super().start()
        internals.wrap_fetch(self, false_if_cancelled)


def false_if_cancelled(fetch: Fetch) -> Fetch:
    """A fetch that returns False if it is cancelled.

    aiokafka's fetcher cancels and awaits its fetches when it closes, and must not get a CancelledError from them.
    aiokafka's own fetch returns False if it is cancelled while it waits for the broker, but raises CancelledError in
    its pause after an error: nearly always while no broker answers.
    """

    async def fetching(*args: Any) -> bool:
        try:
            return await fetch(*args)
        except asyncio.CancelledError:
            return False

    return fetching
