"""Settings about the access to Kafka that cannot be right together, and files that are wrong, stop the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ecounters.errors import SettingsError
from streams.kafka.clients import Kafka
from streams.settings.load import load
from streams.settings.table import SETTINGS, shown
from tests.support.certificates import Authority

PASSWORD = "hunter2-hunter2"
SCRAM = {"PROTOCOL": "sasl_ssl", "MECHANISM": "SCRAM-SHA-512", "USER": "u", "PASSWORD": PASSWORD}


def variables(**given: object) -> dict[str, str]:
    """Variables by their names without ECOUNTERS_KAFKA_; one that is None is left out."""
    return {f"ECOUNTERS_KAFKA_{name}": str(value) for name, value in given.items() if value is not None}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority for certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"PROTOCOL": "tls"}, "PROTOCOL 'tls' is wrong: it must be one of plaintext, ssl"),
        ({"PROTOCOL": "sasl_ssl", "MECHANISM": "GSSAPI"}, "must be one of PLAIN, SCRAM-SHA-256"),
        ({"USER": "u"}, "ECOUNTERS_KAFKA_USER is set, and ECOUNTERS_KAFKA_PROTOCOL plaintext does not use it"),
        ({"PASSWORD": PASSWORD, "PROTOCOL": "ssl"}, "ECOUNTERS_KAFKA_PASSWORD is set, and .* ssl does not use it"),
        ({"CA": "ca.pem"}, "ECOUNTERS_KAFKA_CA is set, and .* plaintext does not use it; is ssl or sasl_ssl meant"),
        ({"PROTOCOL": "sasl_ssl"}, "ECOUNTERS_KAFKA_MECHANISM is missing: ECOUNTERS_KAFKA_PROTOCOL sasl_ssl needs it"),
        ({**SCRAM, "PASSWORD": None}, "ECOUNTERS_KAFKA_PASSWORD is missing: SCRAM-SHA-512 needs it"),
        ({**SCRAM, "USER": None}, "ECOUNTERS_KAFKA_USER is missing"),
        ({**SCRAM, "TOKEN_FILE": "t"}, "ECOUNTERS_KAFKA_TOKEN_FILE is set, and ECOUNTERS_KAFKA_MECHANISM SCRAM"),
        ({**SCRAM, "MECHANISM": "OAUTHBEARER"}, "ECOUNTERS_KAFKA_TOKEN_FILE is missing: OAUTHBEARER needs it"),
        ({**SCRAM, "KEY": "k"}, "ECOUNTERS_KAFKA_CERT is missing: ECOUNTERS_KAFKA_KEY needs it"),
        (
            {**SCRAM, "CA": "/nowhere/ca.pem"},
            "ECOUNTERS_KAFKA_CA is wrong: /nowhere/ca.pem cannot be read: No such file",
        ),
        ({**SCRAM, "CA": __file__}, "ECOUNTERS_KAFKA_CA is wrong: .* holds no certificates in PEM"),
        ({**SCRAM, "CERT": __file__}, "ECOUNTERS_KAFKA_CERT or ECOUNTERS_KAFKA_KEY is wrong: .* no certificate in PEM"),
    ],
)
def test_contradictions_are_refused(given: dict[str, object], words: str) -> None:
    """One line names the variable, and the password is not in it."""
    with pytest.raises(SettingsError) as caught:
        load(variables(**given))
    assert re.search(words, str(caught.value))
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_key_must_fit_and_be_readable_without_a_password(authority: Authority, tmp_path: Path) -> None:
    """Another certificate's key, and an encrypted one, for which the process would ask at the terminal."""
    certificate, key = authority.signed("one")
    _, other = authority.signed("other")
    fits = variables(PROTOCOL="ssl", CA=authority.ca, CERT=certificate, KEY=key)
    assert load(fits).kafka_cert == str(certificate)
    joined = authority.joined("joined")
    assert load(variables(PROTOCOL="ssl", CERT=joined)).kafka_key == ""
    with pytest.raises(SettingsError, match=r"other.key is not the key of the certificate in .*one.pem"):
        load({**fits, **variables(KEY=other)})
    encrypted = authority.encrypted(key, tmp_path / "encrypted.key")
    with pytest.raises(SettingsError, match=r"encrypted.key is encrypted"):
        load({**fits, **variables(KEY=encrypted)})


def test_a_token_is_one_word_in_a_file(tmp_path: Path) -> None:
    """A missing or empty file stops the start; an error does not show what is in it."""
    path = tmp_path / "token"
    given = variables(PROTOCOL="sasl_ssl", MECHANISM="oauthbearer", TOKEN_FILE=path)
    with pytest.raises(SettingsError, match=r"ECOUNTERS_KAFKA_TOKEN_FILE is wrong: .*token cannot be read: No such"):
        load(given)
    for content in ("", " \n", f"{PASSWORD} {PASSWORD}", "é"):
        path.write_text(content)
        with pytest.raises(SettingsError, match=r"holds no token") as caught:
            load(given)
        assert PASSWORD not in str(caught.value)
    path.write_text("e30.e30.\n")
    assert load(given).kafka_mechanism == "OAUTHBEARER"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither by `ecounters settings` nor by an object's repr; the password may be in a file of its own."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    settings = load(variables(**{**SCRAM, "PASSWORD": None}, PASSWORD_FILE=tmp_path / "password"))
    assert settings.kafka_password == PASSWORD
    assert PASSWORD not in " ".join(shown(settings, row) for row in SETTINGS)
    assert PASSWORD not in repr(settings) + repr(Kafka.of(settings))


def test_the_client_id_names_application_and_instance() -> None:
    """By default, so that Kafka's logs and quotas tell workers apart."""
    assert Kafka.of(load({})).client_id == "ecounters"
    assert Kafka.of(load({"ECOUNTERS_INSTANCE_ID": "w1"})).client_id == "ecounters-w1"
    assert Kafka.of(load(variables(CLIENT_ID="calls"))).client_id == "calls"
