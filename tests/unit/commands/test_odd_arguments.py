"""Arguments that are no values of use end in one line and exit code 2, before any server is asked."""

from __future__ import annotations

import pytest

from streams.cli import main

NOT_UTF_8 = "\udcff"
"""An argument with the byte ff, as Python has it."""


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens where Kafka and Redis should be."""
    monkeypatch.setenv("ECOUNTERS_BROKER", "127.0.0.1:1")
    monkeypatch.setenv("ECOUNTERS_REDIS", "redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "--from", NOT_UTF_8], r'--from.value "\\udcff" is no date'),
        (["audit", "--worker", f"http://{NOT_UTF_8}"], r"'http://\udcff' is no address such as"),
        (["explain", "--user", "u", "--counter", "TC", "--date", NOT_UTF_8], r'"\\udcff" is no date'),
        (["explain", "--user", NOT_UTF_8, "--counter", "TC"], r'no event can have the user id "\\udcff"'),
        (["simulate", "--start", "0", "--events", "5", "--out", "-"], "start_ms must be of the years 2000 to 2099"),
        (["simulate", "--start", "9999-01-01T00:00:00Z"], "start_ms must be of the years 2000 to 2099"),
        (["simulate", "--rate", "nan"], "rate_per_s must be above 0, not nan"),
        (["simulate", "--rate", "1e308"], "is not in the range 0<x<=100000"),
    ],
)
def test_an_odd_argument_is_a_wrong_value(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line says what is wrong; no exception gets through."""
    assert main(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.splitlines()[-1].startswith("Error: ") and words in seen.err.splitlines()[-1]
