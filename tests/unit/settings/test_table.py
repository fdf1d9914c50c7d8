"""The table of settings: every row is complete, no secret is shown, and names that follow from settings."""

from __future__ import annotations

import pytest

from ecounters.errors import SettingsError
from streams.settings.load import load
from streams.settings.table import SETTINGS, Settings, masked, shown

PASSWORD = "hunter2"


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.env)
def test_every_row_says_what_a_person_needs(row: object) -> None:
    """Each setting has a unit and a reason, and its default passes its own check."""
    setting = next(one for one in SETTINGS if one is row)
    assert setting.unit
    assert len(setting.why) > 10
    assert setting.parse(setting.default) == getattr(Settings(), setting.field)


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        (f"redis://user:{PASSWORD}@h:6379/0", "redis://***@h:6379/0"),
        (f"rediss://:{PASSWORD}@h/1", "rediss://***@h/1"),
        (f"redis://:p@{PASSWORD}@h:1/0", "redis://***@h:1/0"),
        (f"redis://h:1/0?password={PASSWORD}", "redis://h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        (f"unix://:{PASSWORD}@/run/redis.sock", "unix://***@/run/redis.sock"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, seen: str) -> None:
    """`ecounters settings` shows where Redis is and not how to log in to it."""
    settings = load({"ECOUNTERS_REDIS": address})
    assert masked(address) == seen
    assert [shown(settings, row) for row in SETTINGS if row.field == "redis"] == [seen]
    assert settings.redis == address


def test_the_workers_secret_is_not_shown() -> None:
    """Neither by `ecounters settings` nor in an error, nor where settings are printed whole."""
    settings = load({"ECOUNTERS_SECRET": 3 * PASSWORD})
    (row,) = [row for row in SETTINGS if row.field == "secret"]
    assert (settings.secret, shown(settings, row), shown(load({}), row)) == (3 * PASSWORD, "***", "")
    assert PASSWORD not in repr(settings)
    with pytest.raises(SettingsError, match="16 to 512 characters") as caught:
        load({"ECOUNTERS_SECRET": f" {PASSWORD}"})
    assert PASSWORD not in str(caught.value)


def test_names_of_topics_follow() -> None:
    """The other topics are named after TOPIC and APP_ID."""
    settings = load({"ECOUNTERS_TOPIC": "calls", "ECOUNTERS_APP_ID": "count"})
    assert (settings.dlq_topic, settings.changelog_topic) == ("calls.dlq", "count-state-changelog")
