"""Selections of the settings, each for one or a few classes. ``of`` and ``..._of`` make them from ``Settings``.

So a constructor shows which settings its class depends on, and a test can make such a selection by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ecounters.partition.policy import Policy
from ecounters.recount.call import Limits
from streams.settings.table import Settings


def policy_of(settings: Settings) -> Policy:
    """The limits of a worker's partition states."""
    return Policy(
        linger_ms=settings.linger_ms,
        max_call_ms=settings.max_call_ms,
        suspect_after_ms=settings.suspect_after_ms,
        clock_ahead_ms=settings.clock_ahead_ms,
        keep_windows_ms=settings.keep_windows_ms,
        keep_days_ms=settings.keep_days_ms,
        dtmf_digits=settings.dtmf_digits,
    )


def limits_of(settings: Settings) -> Limits:
    """The limits of the recount, which shares no code with the workers: those of ``policy_of`` that it needs."""
    return Limits(
        linger=settings.linger_ms,
        max_call=settings.max_call_ms,
        suspect_after=settings.suspect_after_ms,
        clock_ahead=settings.clock_ahead_ms,
        keep_days=settings.keep_days_ms,
        dtmf_digits=settings.dtmf_digits,
    )


@dataclass(frozen=True, slots=True)
class ChangelogSettings:
    """Where the changelogs and dead letters of a worker's partitions are written."""

    app_id: str
    topic: str
    dlq_topic: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select these from ``settings``."""
        return cls(settings.app_id, settings.changelog_topic, settings.dlq_topic)

    def transactional_id(self, partition: int) -> str:
        """The transactional id of a partition's writer. All workers use the same one, so a new owner fences the old."""
        return f"{self.app_id}-state-{partition}"


@dataclass(frozen=True, slots=True)
class FlushSettings:
    """When a partition is flushed: every ``interval_ms``, and sooner if more than ``bytes_max`` bytes are unsaved.

    A busy partition is flushed less often: see ``PartitionFlusher.wait_until_due``.
    """

    interval_ms: int
    bytes_max: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select these from ``settings``."""
        return cls(settings.flush_interval_ms, settings.flush_bytes)


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How the events of a partition are read.

    ``topic``: the topic of events. ``stale_after_ms``: after so many ms without a reply of the broker, the known end of
    the log is out of date. ``heartbeat_s``: s between two heartbeats; the reply to a heartbeat announces a rebalance.
    """

    topic: str
    stale_after_ms: int
    heartbeat_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select these from ``settings``."""
        return cls(settings.topic, settings.stale_after_ms, settings.heartbeat_s)


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """All settings of a worker's owned partitions. ``partitions``: how many the topic of events has. ``standbys``: how
    many workers follow each partition besides its owner.
    """

    partitions: int
    policy: Policy
    changelog: ChangelogSettings
    flush: FlushSettings
    feed: FeedSettings
    standbys: int = 0

    @classmethod
    def of(cls, settings: Settings, partitions: int) -> Self:
        """Select these from ``settings``."""
        changelog, flush = ChangelogSettings.of(settings), FlushSettings.of(settings)
        return cls(partitions, policy_of(settings), changelog, flush, FeedSettings.of(settings), settings.standbys)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where a worker serves HTTP.

    ``admin_port``: that of health, metrics and documents; 0 if they have none.
    """

    host: str
    port: int
    admin_port: int
    path_prefix: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select these from ``settings``."""
        return cls(settings.host, settings.port, settings.admin_port, settings.path_prefix)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Which accounts have metrics of their own: these ``names`` or, if ``all`` is set, ``most`` of all accounts.

    ``keep_ms``: how far back counts are kept.
    """

    names: tuple[str, ...]
    all: bool
    most: int
    keep_ms: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select these from ``settings``."""
        names = tuple(name for name in settings.metrics_accounts.split(",") if name)
        is_all = names == ("*",)
        return cls(() if is_all else names, is_all, settings.metrics_accounts_max, settings.keep_days_ms)


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The workers' settings that an audit needs to compare their counters with a recount."""

    limits: Limits
    flush_interval_ms: int
    keep_days_ms: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Select these from ``settings``."""
        return cls(limits_of(settings), settings.flush_interval_ms, settings.keep_days_ms)
