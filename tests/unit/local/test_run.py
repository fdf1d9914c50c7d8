"""What `ecounters run` hands to its children."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from streams.local.run import embedded_settings, environment, on_port
from streams.settings.load import load
from streams.settings.table import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_child_has_its_parents_settings(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, with the port that was found free in place of the one that was asked for."""
    given = {"ECOUNTERS_HOST": host, "ECOUNTERS_ZONE": "Asia/Kolkata", "ECOUNTERS_LINGER_MS": "1234"}
    if host == "0.0.0.0":
        given["ECOUNTERS_ADVERTISE"] = "10.1.2.3:8080"
    for name in [name for name in os.environ if name.startswith("ECOUNTERS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ECOUNTERS_SECRET_FILE", "of the parent, whose secret is among the settings")
    settings = load(given)
    child = load(environment(on_port(settings, 8081)))
    assert (child.host, child.port, child.zone, child.linger_ms) == (host, 8081, settings.zone, 1234)
    assert child.advertise == {"::1": "[::1]:8081", "0.0.0.0": "10.1.2.3:8080"}.get(host, "127.0.0.1:8081")


def test_a_run_does_not_log_in_to_its_own_broker_and_store() -> None:
    """Variables for the access to other ones are left aside, in this process and in its children."""
    access = {"kafka_protocol": "sasl_ssl", "kafka_mechanism": "PLAIN", "kafka_user": "u", "kafka_password": "p"}
    others = replace(Settings(), redis_ca="x", **access)  # type: ignore[arg-type]
    own = embedded_settings(others, "127.0.0.1:1", "redis://127.0.0.1:2/0")
    assert own == Settings(broker="127.0.0.1:1", redis="redis://127.0.0.1:2/0")
    child = load({name: text for name, text in environment(own).items() if name.startswith("ECOUNTERS_")})
    assert (child.kafka_protocol, child.kafka_user, child.redis_ca) == ("plaintext", "", "")
