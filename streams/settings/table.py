"""Every setting, once: its name, default, unit, reason and what it may be.

The fields of ``Settings`` are the table; the environment variable of ``flush_bytes`` is ``ECOUNTERS_FLUSH_BYTES``.
Nothing else reads the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ecounters.errors import SettingsError

PREFIX: Final = "ECOUNTERS_"
TEST_PREFIX: Final = "ECOUNTERS_TEST_"
"""Variables of the test suite; not looked at here."""

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

Parser = Callable[[str], Any]
"""The text of a variable -> its value, or ValueError with what it must be."""


class Setting(NamedTuple):
    """A row of the table. ``default``: as text, as one would write it. ``secret``: a password is in it."""

    field: str
    env: str
    default: str
    unit: str
    why: str
    parse: Parser
    secret: bool


# ---------------------------------------------------------------------------------------------- parsers


def _whole(least: int, most: int) -> Parser:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _host_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError("must be host:port")
    if not 1 <= int(port) <= 65_535:
        raise ValueError("must be host:port with a port from 1 to 65535")
    return text


def _brokers(text: str) -> str:
    try:
        return ",".join(_host_port(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("must be host:port or host:port,host:port (without a scheme or a password)") from None


def _redis(text: str) -> str:
    must = "must be redis://[user:password@]host:port/database, rediss://… or unix:///path"
    try:
        parts = urlsplit(text)
        valid = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"(/[0-9]*)?", parts.path) is not None
    except ValueError:
        raise ValueError(must) from None
    if parts.scheme == "unix":
        valid = len(parts.path) > 1
    if parts.scheme not in ("redis", "rediss", "unix") or not valid:
        raise ValueError(must)
    return text


def _matching(pattern: str, must: str) -> Parser:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(must)
        return text

    return parse


def zone_named(text: str) -> ZoneInfo:
    """A time zone by its IANA name, or ValueError."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be the IANA name of a time zone, such as UTC or Asia/Kolkata") from None


def _level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return text.upper()


def _path(text: str) -> Path:
    if not text:
        raise ValueError("must be the path of a directory")
    return Path(text)


_name = _matching(r"[A-Za-z0-9._-]{1,200}", "must be 1 to 200 letters, digits, '.', '_' or '-' (a Kafka topic's name)")
_optional_name = _matching(r"[A-Za-z0-9._-]{0,200}", "must be up to 200 letters, digits, '.', '_' or '-'")
_secret = _matching(r"|[!-~]{16,512}", "must be 16 to 512 characters, all of them ASCII and none a space")
_host = _matching(r"[A-Za-z0-9._:-]+", "must be a host name or an address to listen on")


def _advertise(text: str) -> str:
    return _host_port(text) if text else ""


# ---------------------------------------------------------------------------------------------- the table


def _setting(default: str, unit: str, parse: Parser, why: str, *, secret: bool = False) -> Any:
    """A field of Settings. Its default is the parsed text, so that a default cannot be of another form."""
    row = {"default": default, "unit": unit, "parse": parse, "why": why, "secret": secret}
    return dataclasses.field(default=parse(default), metadata=row, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process, checked. Made by ``load``; a test may make one by keyword."""

    broker: str = _setting("127.0.0.1:9092", "host:port,…", _brokers, "Kafka, where events come from")
    redis: str = _setting("redis://127.0.0.1:6379/0", "URL", _redis, "users and sessions are kept there", secret=True)
    host: str = _setting("127.0.0.1", "address", _host, "where HTTP is served; 0.0.0.0 is every interface")
    port: int = _setting("8080", "port", _whole(1, 65_535), "where HTTP is served")
    advertise: str = _setting(
        "", "host:port", _advertise, "where other workers reach this one; not given, it is host:port of the two above"
    )
    instance_id: str = _setting(
        "", "name", _optional_name, "this worker's own: after a crash, one started with it has its partitions at once"
    )
    secret: str = _setting(
        "",
        "text",
        _secret,
        "by which workers know one another, the same for all; not given, the group draws one and keeps it in Kafka",
        secret=True,
    )
    zone: ZoneInfo = _setting("UTC", "IANA name", zone_named, "the time zone of users added without one")
    topic: str = _setting("ecounters.events", "name", _name, "the topic of events; TOPIC.dlq takes what is refused")
    partitions: int = _setting(
        "8", "partitions", _whole(1, 10_000), "used when topics are created: the most workers that can share the work"
    )
    replication: int = _setting("1", "copies", _whole(1, 100), "used when topics are created; 3 in production")
    app_id: str = _setting("ecounters", "name", _name, "the consumer group, and the prefix of the changelog's name")
    data_dir: Path = _setting(".ecounters", "path", _path, "`ecounters run` alone: where the embedded stores keep data")
    flush_interval_ms: int = _setting(
        "1000", "ms", _whole(10, 60_000), "longer: fewer writes, more to read again after a crash"
    )
    flush_bytes: int = _setting(
        "16000000", "bytes", _whole(100_000, 1_000_000_000), "so much unsaved state is flushed before its time: memory"
    )
    slice_ms: int = _setting(
        "10", "ms", _whole(1, 1_000), "work at a stretch before HTTP and heartbeats get their turn"
    )
    linger_ms: int = _setting(
        "900000", "ms", _whole(0, 86_400_000), "how long an ended call is kept for events that come late"
    )
    max_call_ms: int = _setting(
        "14400000", "ms", _whole(60_000, 604_800_000), "a call silent for so long is taken to have ended"
    )
    suspect_after_ms: int = _setting(
        "7200000", "ms", _whole(1_000, 604_800_000), "a live call silent for so long is reported as suspected"
    )
    clock_ahead_ms: int = _setting(
        "300000", "ms", _whole(0, 86_400_000), "events further ahead are refused: one bad clock would make others late"
    )
    keep_windows_h: int = _setting(
        "48", "hours", _whole(24, 720), "how long counts are kept by 15 minutes; after that, by day"
    )
    keep_days: int = _setting("400", "days", _whole(2, 4_000), "how long counts are kept by day")
    session_cache_s: int = _setting(
        "60", "s", _whole(0, 3_600), "how long a session known to be good is used while Redis cannot be reached"
    )
    session_timeout_s: int = _setting(
        "10", "s", _whole(2, 300), "a worker that Kafka has not heard of for so long loses its partitions"
    )
    fetch_wait_ms: int = _setting("50", "ms", _whole(1, 10_000), "how long the broker waits for more events to send")
    fetch_bytes: int = _setting(
        "1048576", "bytes", _whole(70_000, 104_857_600), "the most that one fetch takes of one partition: memory"
    )
    ready_lag_ms: int = _setting("10000", "ms", _whole(100, 86_400_000), "above this lag /readyz says not ready")
    stale_after_ms: int = _setting(
        "10000", "ms", _whole(500, 3_600_000), "no word from the broker for so long: answers say they are incomplete"
    )
    log_level: str = _setting("INFO", "level", _level, "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    throttle_per_min: int = _setting(
        "20", "a minute", _whole(1, 1_000_000), "wrong credentials from one address or for one user before 429"
    )
    proxies: int = _setting(
        "0",
        "proxies",
        _whole(0, 10),
        "so many stand before the worker: that many from its end, X-Forwarded-For has the client's address",
    )

    @property
    def dlq_topic(self) -> str:
        """The topic of refused messages."""
        return f"{self.topic}.dlq"

    @property
    def changelog_topic(self) -> str:
        """The topic of the state's changes: Faust's name for the changelog of a table called ``state``."""
        return f"{self.app_id}-state-changelog"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What ``ecounters run`` was asked for. ``broker_port``: of the embedded broker, 0 for any free one."""

    settings: Settings
    simulate: bool = True
    broker_port: int = 0


def _row(field: dataclasses.Field[Any]) -> Setting:
    return Setting(field=field.name, env=PREFIX + field.name.upper(), **field.metadata)


SETTINGS: Final = tuple(_row(field) for field in dataclasses.fields(Settings))
"""The table, in the order that it is shown in."""


def load(environ: Mapping[str, str]) -> Settings:
    """The settings that an environment gives, or SettingsError: one line that names the variable."""
    known = {setting.env: setting for setting in SETTINGS}
    given: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is no setting; did you mean {nearest}? `ecounters settings` lists them all")
        setting = known[name]
        try:
            given[setting.field] = setting.parse(environ[name])
        except ValueError as why:
            # What is wrong may hold a password where no mask would find it: in such a one, "@" is all it takes.
            hidden = setting.secret or "@" in environ[name]
            value = "" if hidden else f" {_short(environ[name])}"
            raise SettingsError(f"{name}{value} is wrong: it {why}") from None
    return _agreeing(Settings(**given))


def _agreeing(settings: Settings) -> Settings:
    """Settings that fit one another, with what follows from others filled in."""
    if settings.suspect_after_ms > settings.max_call_ms:
        raise SettingsError(
            f"ECOUNTERS_SUSPECT_AFTER_MS {settings.suspect_after_ms} is wrong: it must not be above "
            f"ECOUNTERS_MAX_CALL_MS {settings.max_call_ms}, when a silent call has ended already"
        )
    if settings.keep_days * 24 < settings.keep_windows_h:
        raise SettingsError(
            f"ECOUNTERS_KEEP_DAYS {settings.keep_days} is wrong: it must not be less than "
            f"ECOUNTERS_KEEP_WINDOWS_H {settings.keep_windows_h}"
        )
    if settings.advertise:
        return settings
    if settings.host in ("0.0.0.0", "::"):
        raise SettingsError(
            f"ECOUNTERS_ADVERTISE is missing: ECOUNTERS_HOST {settings.host} is no address that other workers can "
            "reach; give the host:port at which they reach this one"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return dataclasses.replace(settings, advertise=f"{host}:{settings.port}")


def _short(text: str) -> str:
    """What was given, on one line and short enough for a message."""
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "...'"


def masked(address: str) -> str:
    """A Redis address that ``load`` has let through, as it may be shown: without user, password and options."""
    parts = urlsplit(address)
    _, at, place = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{'***@' if at else ''}{place}{parts.path}"


def shown(settings: Settings, setting: Setting) -> str:
    """A setting's value as text, masked where it may hold a password."""
    text = str(getattr(settings, setting.field))
    if setting.field == "redis":
        return masked(text)
    return "***" if setting.secret and text else text
