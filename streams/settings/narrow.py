"""Parts of the settings, each with what one part of a worker needs. ``of`` and ``..._of`` make them of all settings.

A class that takes such a part says in its constructor what it depends on, and tests make the part by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ecounters.partition.policy import Policy
from ecounters.recount.call import Limits
from streams.settings.table import Settings


def policy_of(settings: Settings) -> Policy:
    """The time limits by which a worker's partitions count."""
    return Policy(
        linger_ms=settings.linger_ms,
        max_call_ms=settings.max_call_ms,
        suspect_after_ms=settings.suspect_after_ms,
        clock_ahead_ms=settings.clock_ahead_ms,
        keep_windows_ms=settings.keep_windows_ms,
        keep_days_ms=settings.keep_days_ms,
    )


def limits_of(settings: Settings) -> Limits:
    """The same time limits for the recount, which shares no code with the workers."""
    return Limits(
        linger=settings.linger_ms,
        max_call=settings.max_call_ms,
        suspect_after=settings.suspect_after_ms,
        clock_ahead=settings.clock_ahead_ms,
    )


@dataclass(frozen=True, slots=True)
class ChangelogSettings:
    """Where the changelogs and dead letters of a worker's partitions are written."""

    broker: str
    app_id: str
    topic: str
    dlq_topic: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take this part out of ``settings``."""
        return cls(settings.broker, settings.app_id, settings.changelog_topic, settings.dlq_topic)

    def transactional_id(self, partition: int) -> str:
        """The id that fences a partition's writers: each partition has one, the same on every worker."""
        return f"{self.app_id}-state-{partition}"


@dataclass(frozen=True, slots=True)
class FlushSettings:
    """When a partition is flushed: every ``interval_ms``, and sooner when ``bytes_max`` bytes are unsaved."""

    interval_ms: int
    bytes_max: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take this part out of ``settings``."""
        return cls(settings.flush_interval_ms, settings.flush_bytes)


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How a partition is fed.

    ``topic``: of events. ``stale_after_ms``: ms without word from the broker after which the feed counts as broken.
    ``heartbeat_s``: seconds until this worker's next heartbeat at the latest, whose reply announces a rebalance.
    """

    topic: str
    stale_after_ms: int
    heartbeat_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take this part out of ``settings``."""
        return cls(settings.topic, settings.stale_after_ms, settings.heartbeat_s)


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """All that the owned partitions of a worker need. ``partitions``: how many the topic of events has."""

    partitions: int
    policy: Policy
    changelog: ChangelogSettings
    flush: FlushSettings
    feed: FeedSettings

    @classmethod
    def of(cls, settings: Settings, partitions: int) -> Self:
        """Take this part out of ``settings``."""
        changelog, flush = ChangelogSettings.of(settings), FlushSettings.of(settings)
        return cls(partitions, policy_of(settings), changelog, flush, FeedSettings.of(settings))


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What an audit must know of the workers' settings to compare their counters with a recount."""

    limits: Limits
    flush_interval_ms: int
    keep_days_ms: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take this part out of ``settings``."""
        return cls(limits_of(settings), settings.flush_interval_ms, settings.keep_days_ms)
