"""The table of settings: one row for each, with its name, default, unit, reason and parser.

The fields of ``Settings`` are the rows. The environment variable of ``flush_bytes`` is ``ECOUNTERS_FLUSH_BYTES``.
To add a setting, add a field; ``streams.settings.load``, ``ecounters settings`` and the documentation read the table.
Nothing else in the program reads its settings from the environment.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ecounters.windows.calendar import DAY_MS, HOUR_MS
from streams.basics.times import zone_named
from streams.settings import parsers
from streams.settings.parsers import Parser, whole

PREFIX: Final = "ECOUNTERS_"
HEARTBEATS_PER_SESSION: Final = 4
"""Heartbeats that a worker sends in one session timeout: Kafka may miss three before it declares the worker dead."""

HEARTBEAT_MAX_S: Final = 1.0
"""The reply to a heartbeat says that the group rebalances. Until all workers know, those that do count nothing."""


class Setting(NamedTuple):
    """One row of the table.

    ``field``: the name in ``Settings``; ``env``: the environment variable. ``default``: the text that gives the
    default, as one would write it in the variable. ``unit`` and ``why`` are shown to people. ``secret``: the value may
    hold a password, so ``shown`` masks it.
    """

    field: str
    env: str
    default: str
    unit: str
    why: str
    parse: Parser
    secret: bool


def _setting(default: str, unit: str, parse: Parser, why: str, *, secret: bool = False) -> Any:
    """Declare a field of Settings. Its default passes through ``parse`` like the text of a variable."""
    row = {"default": default, "unit": unit, "parse": parse, "why": why, "secret": secret}
    return dataclasses.field(default=parse(default), metadata=row, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process. Immutable.

    ``streams.settings.load.load`` makes them from the environment: it checks each value, checks the values against each
    other and fills in ``advertise``. Tests may call the constructor, which checks nothing.
    """

    broker: str = _setting("127.0.0.1:9092", "host:port,…", parsers.brokers, "Kafka, where events come from")
    kafka_protocol: str = _setting(
        "plaintext",
        "protocol",
        parsers.kafka_protocol,
        "plaintext, ssl, sasl_plaintext or sasl_ssl: what the listener of ECOUNTERS_BROKER speaks",
    )
    kafka_mechanism: str = _setting(
        "",
        "mechanism",
        parsers.kafka_mechanism,
        "with a protocol of SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    )
    kafka_user: str = _setting("", "text", parsers.printable, "who logs in to Kafka, by PLAIN or SCRAM")
    kafka_password: str = _setting("", "text", parsers.printable, "the password of ECOUNTERS_KAFKA_USER", secret=True)
    kafka_token_file: str = _setting(
        "", "path", parsers.optional_path, "holds the token for OAUTHBEARER; read again for each connection"
    )
    kafka_ca: str = _setting(
        "",
        "path",
        parsers.optional_path,
        "PEM: the authorities that sign the brokers' certificates; by default those of the system",
    )
    kafka_cert: str = _setting(
        "", "path", parsers.optional_path, "PEM: this client's certificate, for brokers that ask for one"
    )
    kafka_key: str = _setting(
        "", "path", parsers.optional_path, "PEM: the private key of ECOUNTERS_KAFKA_CERT, not encrypted"
    )
    kafka_client_id: str = _setting(
        "",
        "name",
        parsers.optional_name,
        "names this process in Kafka's logs, quotas and tools; by default ECOUNTERS_APP_ID, and with "
        "ECOUNTERS_INSTANCE_ID also that",
    )
    redis: str = _setting(
        "redis://127.0.0.1:6379/0", "URL", parsers.redis_url, "users and sessions are kept there", secret=True
    )
    redis_ca: str = _setting(
        "",
        "path",
        parsers.optional_path,
        "PEM: the authorities that sign the certificates of Redis and its sentinels; by default those of the system",
    )
    host: str = _setting("127.0.0.1", "address", parsers.host, "where HTTP is served; 0.0.0.0 is every interface")
    port: int = _setting("8080", "port", whole(1, 65_535), "where HTTP is served")
    admin_port: int = _setting(
        "0",
        "port",
        whole(0, 65_535),
        "where health, metrics and documents are served instead; 0: on ECOUNTERS_PORT",
    )
    path_prefix: str = _setting(
        "", "path", parsers.path_prefix, "such as /counters: paths may begin with it, where a proxy leaves it there"
    )
    tls_cert: str = _setting(
        "",
        "path",
        parsers.optional_path,
        "PEM: the certificate chain with which HTTP is served over TLS; SIGHUP reads it again",
    )
    tls_key: str = _setting(
        "", "path", parsers.optional_path, "PEM: the private key of ECOUNTERS_TLS_CERT, not encrypted"
    )
    tls_ca: str = _setting(
        "",
        "path",
        parsers.optional_path,
        "PEM: the authorities that sign other workers' certificates; by default those of the system",
    )
    advertise: str = _setting(
        "",
        "host:port",
        parsers.optional_host_port,
        "where other workers reach this one; by default ECOUNTERS_HOST:ECOUNTERS_PORT",
    )
    instance_id: str = _setting(
        "",
        "name",
        parsers.optional_name,
        "a name of this worker's own; restarted under it after a crash, it gets its partitions back at once",
    )
    secret: str = _setting(
        "",
        "text",
        parsers.secret,
        "the same for all workers: they sign requests to one another with it; by default the group keeps one in Kafka",
        secret=True,
    )
    zone: ZoneInfo = _setting("UTC", "IANA name", zone_named, "the time zone of users added without one")
    topic: str = _setting(
        "ecounters.events", "name", parsers.topic_name, "the topic of events; refused events go to the topic TOPIC.dlq"
    )
    partitions: int = _setting(
        "8", "partitions", whole(1, 10_000), "used when topics are created: the most workers that can share the work"
    )
    replication: int = _setting("1", "copies", whole(1, 100), "used when topics are created; 3 in production")
    app_id: str = _setting(
        "ecounters", "name", parsers.topic_name, "the consumer group, and the prefix of the changelog's name"
    )
    data_dir: Path = _setting(
        ".ecounters",
        "path",
        parsers.directory,
        "for `ecounters run` only: where the embedded broker and store keep their data",
    )
    flush_interval_ms: int = _setting(
        "1000",
        "ms",
        whole(10, 60_000),
        "longer: fewer writes, more to read again after a crash; a busy partition waits for five of them, up to 10 s",
    )
    flush_bytes: int = _setting(
        "16000000",
        "bytes",
        whole(100_000, 1_000_000_000),
        "with more unsaved bytes a partition is flushed at once, with a sixteenth of them it is busy; bounds memory",
    )
    slice_ms: int = _setting("10", "ms", whole(1, 1_000), "work at a stretch before HTTP and heartbeats get their turn")
    linger_ms: int = _setting(
        "900000", "ms", whole(0, 86_400_000), "how long an ended call is kept for events that come late"
    )
    max_call_ms: int = _setting(
        "14400000", "ms", whole(60_000, 604_800_000), "a live call without events for so long is taken to have ended"
    )
    suspect_after_ms: int = _setting(
        "7200000", "ms", whole(1_000, 604_800_000), "a live call without events for so long is reported as suspected"
    )
    clock_ahead_ms: int = _setting(
        "300000",
        "ms",
        whole(0, 86_400_000),
        "events further in the future are refused: one wrong clock would make all others late",
    )
    dtmf_digits: int = _setting(
        "4",
        "characters",
        whole(0, 32),
        "of longer DTMF inputs only the length is kept: they are PINs, accounts, cards",
    )
    keep_windows_h: int = _setting(
        "48", "hours", whole(24, 720), "how long counts are kept in windows of 15 minutes; after that, in days"
    )
    keep_days: int = _setting("400", "days", whole(2, 4_000), "how long counts are kept in days")
    session_cache_s: int = _setting(
        "60", "s", whole(0, 3_600), "how long a session known to be good is used while Redis cannot be reached"
    )
    sessions_per_user: int = _setting(
        "100", "sessions", whole(1, 1_000), "most open sessions of a user; one more ends the one that was opened first"
    )
    session_timeout_s: int = _setting(
        "10", "s", whole(2, 300), "a worker that Kafka has not heard of for so long loses its partitions"
    )
    drain_s: int = _setting(
        "5",
        "s",
        whole(0, 3_600),
        "how long a worker that is told to end goes on as before, while /readyz says 503: load balancers have to "
        "notice; a second SIGTERM ends the wait",
    )
    handover_s: int = _setting(
        "15",
        "s",
        whole(0, 3_600),
        "how long it answers after that, at most, until other workers have restored its partitions; the process must "
        "be given ECOUNTERS_DRAIN_S + 7 s + this to end",
    )
    standbys: int = _setting(
        "0",
        "workers",
        whole(0, 10),
        "so many other workers follow each partition, answer for it if its owner dies, and take it over at once; each "
        "needs the memory of the partition once more. The same on all workers",
    )
    fetch_wait_ms: int = _setting("50", "ms", whole(1, 10_000), "how long the broker waits for more events to send")
    fetch_bytes: int = _setting(
        "1048576",
        "bytes",
        whole(70_000, 104_857_600),
        "most bytes that one fetch takes of one partition; bounds memory",
    )
    ready_lag_ms: int = _setting(
        "10000", "ms", whole(100, 86_400_000), "above this lag the body of /readyz says how large it is"
    )
    stale_after_ms: int = _setting(
        "10000", "ms", whole(500, 3_600_000), "if the broker is silent for longer, replies say that they are incomplete"
    )
    metrics_accounts: str = _setting(
        "",
        "names or *",
        parsers.account_names,
        "accounts with metrics of their own, separated by commas, or * for all; /metrics then has their ids and DIDs",
    )
    metrics_accounts_max: int = _setting(
        "100", "accounts", whole(1, 10_000), "with *: so many accounts of a worker have metrics, up to 170 series each"
    )
    log_level: str = _setting("INFO", "level", parsers.log_level, "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    log_format: str = _setting(
        "text", "form", parsers.log_format, "text, or json: one JSON object a line, for log collectors"
    )
    throttle_per_min: int = _setting(
        "20", "a minute", whole(1, 1_000_000), "wrong credentials from one address or for one user before 429"
    )
    proxies: int = _setting(
        "0",
        "proxies",
        whole(0, 10),
        "reverse proxies before the worker; with N, the client's address is the N-th from the end of X-Forwarded-For, "
        "and X-Forwarded-Proto is believed; with 0 neither is",
    )

    @property
    def scheme(self) -> str:
        """That of this worker's URLs."""
        return "https" if self.tls_cert else "http"

    @property
    def instance(self) -> str:
        """Which worker this is, for people: its name, else where other workers reach it."""
        return self.instance_id or self.advertise

    @property
    def dlq_topic(self) -> str:
        """The topic of dead letters."""
        return f"{self.topic}.dlq"

    @property
    def changelog_topic(self) -> str:
        """The changelog's topic: the name that Faust gives to the changelog of a table called ``state``."""
        return f"{self.app_id}-state-changelog"

    @property
    def keep_windows_ms(self) -> int:
        """``keep_windows_h`` in ms."""
        return self.keep_windows_h * HOUR_MS

    @property
    def keep_days_ms(self) -> int:
        """``keep_days`` in ms."""
        return self.keep_days * DAY_MS

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two heartbeats of a worker to Kafka's group coordinator."""
        return min(HEARTBEAT_MAX_S, self.session_timeout_s / HEARTBEATS_PER_SESSION)


def _row(field: dataclasses.Field[Any]) -> Setting:
    return Setting(field=field.name, env=PREFIX + field.name.upper(), **field.metadata)


SETTINGS: Final = tuple(_row(field) for field in dataclasses.fields(Settings))
"""All rows, in the order in which they are shown."""


def masked(address: str) -> str:
    """A valid Redis URL without its query and with ``***`` for user and password, so that it can be shown."""
    url = urlsplit(address)
    _, at, location = url.netloc.rpartition("@")
    return f"{url.scheme}://{'***@' if at else ''}{location}{url.path}"


def shown(settings: Settings, setting: Setting) -> str:
    """A setting's value as text for people. Of a secret only ``***`` is shown, of the Redis URL see ``masked``."""
    text = str(getattr(settings, setting.field))
    if setting.field == "redis":
        return masked(text)
    return "***" if setting.secret and text else text
