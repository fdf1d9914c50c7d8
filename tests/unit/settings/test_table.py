"""Settings: defaults, what is refused and in which words, and that no password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecounters.errors import SettingsError
from streams.settings.table import LOG_LEVELS, SETTINGS, Settings, load, masked, shown

PASSWORD = "hunter2"


def test_an_empty_environment_gives_the_defaults() -> None:
    """Without any variable the settings are the documented ones, and ADVERTISE is HOST:PORT."""
    settings = load({})
    assert (settings.broker, settings.port, settings.topic) == ("127.0.0.1:9092", 8080, "ecounters.events")
    assert settings.advertise == "127.0.0.1:8080"
    assert str(settings.zone) == "UTC"


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.env)
def test_every_row_says_what_a_person_needs(row: object) -> None:
    """Each setting has a unit and a reason, and its default passes its own check."""
    setting = next(one for one in SETTINGS if one is row)
    assert setting.unit
    assert len(setting.why) > 10
    assert setting.parse(setting.default) == getattr(Settings(), setting.field)


def test_values_are_parsed() -> None:
    """Given values arrive in the type that the code uses."""
    settings = load({"ECOUNTERS_PORT": "9", "ECOUNTERS_ZONE": "Asia/Kolkata", "ECOUNTERS_LOG_LEVEL": "debug"})
    assert (settings.port, str(settings.zone), settings.log_level) == (9, "Asia/Kolkata", "DEBUG")
    assert load({"ECOUNTERS_DATA_DIR": "a/b"}).data_dir == Path("a/b")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ECOUNTERS_BROKR", "ECOUNTERS_BROKER"),
        ("ECOUNTERS_FLUSH_INTERVAL", "ECOUNTERS_FLUSH_INTERVAL_MS"),
        ("ECOUNTERS_X", "ECOUNTERS_"),
    ],
)
def test_an_unknown_variable_is_refused_naming_the_nearest(name: str, nearest: str) -> None:
    """A mistyped name stops the start, and the message says what was meant."""
    with pytest.raises(SettingsError, match=f"{name} is no setting; did you mean {nearest}"):
        load({name: "1"})


def test_variables_of_others_are_left_alone() -> None:
    """Other prefixes and the test suite's own are no business of ours."""
    assert load({"ECOUNTERS_TEST_BROKER": "x", "PATH": "y", "OTHER_ECOUNTERS_X": "z"}) == load({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "8080.0"),
        ("PORT", "1_0"),
        ("PORT", " 80"),
        ("PORT", ""),
        ("PORT", "\u0661"),
        ("PARTITIONS", "-1"),
        ("BROKER", "kafka"),
        ("BROKER", "kafka:9092,"),
        ("BROKER", "kafka:99999"),
        ("BROKER", "http://kafka:9092"),
        ("REDIS", "127.0.0.1:6379"),
        ("REDIS", "redis://"),
        ("REDIS", "redis://h:6379/zero"),
        ("REDIS", "redis://h:port/0"),
        ("REDIS", "unix://"),
        ("ZONE", "Mars/Base"),
        ("ZONE", "America"),
        ("ZONE", "../zone"),
        ("ZONE", ""),
        ("TOPIC", "a b"),
        ("TOPIC", ""),
        ("APP_ID", "a/b"),
        ("HOST", ""),
        ("ADVERTISE", "worker"),
        ("DATA_DIR", ""),
        ("LOG_LEVEL", "LOUD"),
        ("FLUSH_BYTES", "2000000000"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(name: str, value: str) -> None:
    """The line names the variable and says what it must be."""
    with pytest.raises(SettingsError) as caught:
        load({f"ECOUNTERS_{name}": value})
    assert f"ECOUNTERS_{name}" in str(caught.value)
    assert "must be" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_long_or_many_lined_value_stays_one_short_line() -> None:
    """What was given is quoted and cut, so that the message is a line."""
    with pytest.raises(SettingsError) as caught:
        load({"ECOUNTERS_PORT": "1\n" * 500})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["BROKER", "REDIS", "HOST", "ADVERTISE"])
@pytest.mark.parametrize(
    "form", ["redis://u:{}@", "http://:{}@h:1/x", "{}@h", "redis://u:{}/x@h:1", "redis://:{}?x@h:y"]
)
def test_no_error_shows_a_password(name: str, form: str) -> None:
    """An address that is refused may hold a password, wherever it stands."""
    with pytest.raises(SettingsError) as caught:
        load({f"ECOUNTERS_{name}": form.format(PASSWORD)})
    assert PASSWORD not in str(caught.value)


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


def test_settings_that_do_not_fit_are_refused() -> None:
    """Each pair that contradicts is named."""
    with pytest.raises(SettingsError, match=r"SUSPECT_AFTER_MS 7200000 .* ECOUNTERS_MAX_CALL_MS 3600000"):
        load({"ECOUNTERS_MAX_CALL_MS": "3600000"})
    with pytest.raises(SettingsError, match=r"KEEP_DAYS 2 .*KEEP_WINDOWS_H 72"):
        load({"ECOUNTERS_KEEP_DAYS": "2", "ECOUNTERS_KEEP_WINDOWS_H": "72"})


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_every_interface_needs_an_address_for_the_others(host: str) -> None:
    """Nobody can connect to 0.0.0.0, so it must not be told to other workers."""
    with pytest.raises(SettingsError, match="ECOUNTERS_ADVERTISE is missing"):
        load({"ECOUNTERS_HOST": host})
    assert load({"ECOUNTERS_HOST": host, "ECOUNTERS_ADVERTISE": "w1:80"}).advertise == "w1:80"


def test_advertise_follows_host_and_port() -> None:
    """It need not be given where host and port are reachable, IPv6 in brackets."""
    assert load({"ECOUNTERS_HOST": "worker-1", "ECOUNTERS_PORT": "81"}).advertise == "worker-1:81"
    assert load({"ECOUNTERS_HOST": "::1"}).advertise == "[::1]:8080"


def test_names_of_topics_follow() -> None:
    """The other topics are named after TOPIC and APP_ID."""
    settings = load({"ECOUNTERS_TOPIC": "calls", "ECOUNTERS_APP_ID": "count"})
    assert (settings.dlq_topic, settings.changelog_topic) == ("calls.dlq", "count-state-changelog")


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_log_levels_are_pythons(level: str) -> None:
    """Each level can be set."""
    assert load({"ECOUNTERS_LOG_LEVEL": level}).log_level == level
