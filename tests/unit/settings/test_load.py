"""Loading settings: defaults, which values are refused and in which words, and that no error shows a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecounters.errors import SettingsError
from streams.settings.load import load
from streams.settings.parsers import LOG_LEVELS
from streams.web.tls import ServerTls

PASSWORD = "hunter2"


def test_an_empty_environment_gives_the_defaults() -> None:
    """Without any variable the settings are the documented ones, and ADVERTISE is HOST:PORT."""
    settings = load({})
    assert (settings.broker, settings.port, settings.topic) == ("127.0.0.1:9092", 8080, "ecounters.events")
    assert settings.advertise == "127.0.0.1:8080"
    assert str(settings.zone) == "UTC"


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
    assert load({"ECOUNTERS_TEST_BROKER": "x", "ECOUNTERS_PURE": "1", "PATH": "y", "OTHER_ECOUNTERS_X": "z"}) == load(
        {}
    )


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
        ("METRICS_ACCOUNTS", "acme,,globex"),
        ("METRICS_ACCOUNTS", "*,acme"),
        ("METRICS_ACCOUNTS", ",".join(map(str, range(1_001)))),
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
        ("PATH_PREFIX", "/API"),
        ("PATH_PREFIX", "/dashboard/x"),
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


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_log_levels_are_pythons(level: str) -> None:
    """Each level can be set."""
    assert load({"ECOUNTERS_LOG_LEVEL": level}).log_level == level


LINKS = {
    "ECOUNTERS_SERVICE_HOST": "10.96.0.12",
    "ECOUNTERS_SERVICE_PORT": "8080",
    "ECOUNTERS_SERVICE_PORT_HTTP": "8080",
    "ECOUNTERS_PORT": "tcp://10.96.0.12:8080",
    "ECOUNTERS_PORT_8080_TCP": "tcp://10.96.0.12:8080",
    "ECOUNTERS_PORT_8080_TCP_PROTO": "tcp",
    "ECOUNTERS_PORT_8080_TCP_PORT": "8080",
    "ECOUNTERS_PORT_8080_TCP_ADDR": "10.96.0.12",
    "ECOUNTERS_REDIS_SERVICE_HOST": "10.96.0.13",
    "ECOUNTERS_REDIS_PORT": "tcp://10.96.0.13:6379",
    "ECOUNTERS_REDIS_PORT_6379_TCP_ADDR": "10.96.0.13",
}
"""What Kubernetes sets in each pod beside two Services, ``ecounters`` and ``ecounters-redis``."""


def test_service_links_of_kubernetes_are_ignored() -> None:
    """A Service with the project's name stopped every pod's start."""
    assert load(LINKS) == load({})
    assert load({**LINKS, "ECOUNTERS_PORT": "81"}).port == 81


@pytest.mark.parametrize(("name", "value"), [("ECOUNTERS_HOST", "tcp://h:1"), ("ECOUNTERS_SERVICE", "x")])
def test_what_only_resembles_a_service_link_is_refused(name: str, value: str) -> None:
    """A wrong value and an unknown name are errors as ever."""
    with pytest.raises(SettingsError, match=name):
        load({name: value})


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_can_be_in_a_file(tmp_path: Path, end: str) -> None:
    """The line break that an editor adds is no part of it, but spaces are."""
    (tmp_path / "secret").write_bytes(b"0123456789abcdef" + end.encode())
    (tmp_path / "redis").write_text("redis://:p%20w@h:1/0")
    found = load({"ECOUNTERS_SECRET_FILE": f"{tmp_path}/secret", "ECOUNTERS_REDIS_FILE": f"{tmp_path}/redis"})
    assert (found.secret, found.redis) == ("0123456789abcdef", "redis://:p%20w@h:1/0")


def test_a_wrong_secret_in_a_file_is_not_shown(tmp_path: Path) -> None:
    """The message names the variable of the file."""
    (tmp_path / "short").write_text(PASSWORD)
    with pytest.raises(SettingsError, match="ECOUNTERS_SECRET_FILE is wrong: it must be 16") as caught:
        load({"ECOUNTERS_SECRET_FILE": f"{tmp_path}/short"})
    assert PASSWORD not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, no file, no text, empty, or endless: an empty file would mean that there is no secret."""
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    for path, why in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "binary", "no text in UTF-8"),
        (tmp_path / "empty", "it is empty"),
        (Path("/dev/zero"), "more than 65536 bytes"),
    ):
        with pytest.raises(SettingsError, match=f"ECOUNTERS_SECRET_FILE .*{why}"):
            load({"ECOUNTERS_SECRET_FILE": str(path)})


def test_a_secret_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    """Neither is preferred; and only a secret has a file."""
    with pytest.raises(SettingsError, match="ECOUNTERS_SECRET_FILE and ECOUNTERS_SECRET are both set"):
        load({"ECOUNTERS_SECRET_FILE": str(tmp_path), "ECOUNTERS_SECRET": "0123456789abcdef"})
    with pytest.raises(SettingsError, match="ECOUNTERS_PORT_FILE is no setting"):
        load({"ECOUNTERS_PORT_FILE": str(tmp_path)})


KEY = "-----BEGIN EC PRIVATE KEY-----{0}MHcCAQEEIHunter2hunter2/Hunter2hunter2{0}-----END EC PRIVATE KEY-----"
"""What a shell makes of ``$(cat key.pem)``."""


@pytest.mark.parametrize("name", ["REDIS_FILE", "SECRET_FILE", "KAFKA_PASSWORD_FILE"])
@pytest.mark.parametrize(
    "secret",
    [f"redis://u:{PASSWORD}@h:1", PASSWORD, PASSWORD * 200, f"{PASSWORD}/ab=="],
    ids=["url", "word", "long", "base64"],
)
def test_a_secret_in_place_of_its_path_is_not_shown(name: str, secret: str) -> None:
    """It is a common mistake, and the line goes to a log."""
    with pytest.raises(SettingsError, match=f"ECOUNTERS_{name} is wrong: it cannot be read") as caught:
        load({f"ECOUNTERS_{name}": secret})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("kind", ["KAFKA", "TLS"])
@pytest.mark.parametrize("line_break", ["\n", "\\n"])
def test_a_key_in_place_of_its_path_is_not_shown(kind: str, line_break: str, tmp_path: Path) -> None:
    """Nor is a token; with real line breaks, and with those that a file of variables has."""
    key, cert = KEY.format(line_break), tmp_path / "cert"
    cert.write_text("")
    given = {"ECOUNTERS_KAFKA_PROTOCOL": "ssl", f"ECOUNTERS_{kind}_CERT": str(cert), f"ECOUNTERS_{kind}_KEY": key}
    with pytest.raises(SettingsError) as caught:
        run_in_order(given)
    assert "unter2hunter2" not in str(caught.value) and "_KEY is wrong" in str(caught.value)
    oauth = {"PROTOCOL": "sasl_ssl", "MECHANISM": "OAUTHBEARER", "TOKEN_FILE": PASSWORD}
    with pytest.raises(SettingsError, match="TOKEN_FILE is wrong: what it names cannot be read") as caught:
        load({f"ECOUNTERS_KAFKA_{name}": value for name, value in oauth.items()})
    assert PASSWORD not in str(caught.value)


def run_in_order(given: dict[str, str]) -> None:
    """Read settings, and then the certificate, as a worker does."""
    settings = load(given)
    ServerTls(settings.tls_cert, settings.tls_key)


@pytest.mark.parametrize(("session_s", "heartbeat_s"), [("2", 0.5), ("10", 1.0), ("300", 1.0)])
def test_workers_learn_of_a_rebalance_within_a_second(session_s: str, heartbeat_s: float) -> None:
    """A short session has four heartbeats, so that three may be missed."""
    assert load({"ECOUNTERS_SESSION_TIMEOUT_S": session_s}).heartbeat_s == heartbeat_s
