"""Parts of the settings: what a worker counts by and what the recount counts by are the same, hours and days are ms."""

from __future__ import annotations

import dataclasses

from ecounters.partition.policy import Policy
from ecounters.recount.call import Limits
from streams.settings.load import load
from streams.settings.narrow import AccountSettings, AuditSettings, PartitionSettings, limits_of, policy_of
from streams.settings.table import Settings

OTHERS = Settings(linger_ms=1, max_call_ms=2, suspect_after_ms=3, clock_ahead_ms=4, keep_windows_h=5, keep_days=6)


def test_defaults_are_the_specifications() -> None:
    """Without a setting both count by the times of the specification, which each has in its own words."""
    assert policy_of(Settings()) == Policy()
    assert limits_of(Settings()) == Limits()


def test_every_limit_is_taken_from_the_settings() -> None:
    """No limit of a worker or of the recount stays at its default when its setting does not."""
    policy, limits = policy_of(OTHERS), limits_of(OTHERS)
    assert (policy.linger_ms, policy.max_call_ms, policy.suspect_after_ms, policy.clock_ahead_ms) == (1, 2, 3, 4)
    assert (policy.keep_windows_ms, policy.keep_days_ms) == (5 * 3_600_000, 6 * 86_400_000)
    assert dataclasses.astuple(limits)[:4] == (1, 2, 3, 4)
    assert limits.keep_days == 6 * 86_400_000


def test_each_partition_has_its_own_transactional_id() -> None:
    """It is the same on every worker, so that a new owner fences the old one; and it is of the consumer group."""
    settings = PartitionSettings.of(Settings(app_id="counters"), 8)
    assert settings.partitions == 8
    assert settings.changelog.transactional_id(3) == "counters-state-3"
    assert settings.changelog.topic == "counters-state-changelog"


def test_an_audit_knows_how_long_counts_are_kept() -> None:
    """And how often a worker lets time pass, which bounds how far its clock may be behind."""
    settings = AuditSettings.of(Settings(flush_interval_ms=250, keep_days=2))
    assert (settings.flush_interval_ms, settings.keep_days_ms) == (250, 2 * 86_400_000)


def test_the_accounts_with_metrics_are_none_some_or_all() -> None:
    """Spaces around a name are none of it, and a name that is given twice is one."""
    keep_ms = Settings().keep_days_ms
    given = {name: AccountSettings.of(load({"ECOUNTERS_METRICS_ACCOUNTS": name})) for name in ("", "a, b c ,a", "*")}
    assert given == {
        "": AccountSettings((), False, 100, keep_ms),
        "a, b c ,a": AccountSettings(("a", "b c"), False, 100, keep_ms),
        "*": AccountSettings((), True, 100, keep_ms),
    }
