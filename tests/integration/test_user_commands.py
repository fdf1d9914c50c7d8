"""`ecounters user` and `ecounters session` as a person runs them, with a real Redis."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.cli import main
from tests.support.accounts import TOKEN
from tests.support.workers import Deployment, Worker

Ran = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ran(deployment: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ran:
    """A function that runs a command in this process: its exit code, stdout and stderr. ``typed``: its stdin."""
    environment = deployment.environment()
    for variable in os.environ.keys() - environment.keys():
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        exit_code = main(list(arguments))
        seen = capsys.readouterr()
        return exit_code, seen.out, seen.err

    return run


def test_secrets_come_from_files_and_standard_input(ran: Ran, deployment: Deployment, tmp_path: Path) -> None:
    """Tokens and ssids, with or without a line break at the end."""
    user, file = deployment.name, tmp_path / "secret"
    typed = "a token from standard input"
    assert ran("user", "add", user, "--token-file", "-", typed=typed + "\r\n")[:2] == (0, typed + "\n")
    file.write_text("a token from a file\n")
    assert ran("user", "token", user, "--token-file", str(file))[:2] == (0, "a token from a file\n")
    for end in ("", "\n"):
        ssid = ran("session", "open", user)[1].strip()
        assert ran("session", "close", "--ssid-file", "-", typed=ssid + end) == (0, "", "Closed.\n")


def test_another_zone_moves_the_midnight_of_today(ran: Ran, worker: Worker) -> None:
    """A running worker replies for the new zone's today within a few seconds. `user list` shows the zone."""

    def midnight() -> str:
        return worker.ask({"userId": "u1", "token": TOKEN}).headers["X-Ecounters-Range"].split("/")[0][10:]

    for zone, wanted in (("Asia/Kolkata", "T18:30:00.000Z"), ("Asia/Tokyo", "T15:00:00.000Z")):
        assert ran("user", "zone", "u1", zone) == (0, "", f"u1 has days of {zone} now.\n")
        deadline = time.monotonic() + 10
        while midnight() != wanted:
            assert time.monotonic() < deadline
        assert f"u1\t{zone}\n" in ran("user", "list")[1]
    exit_code, out, err = ran("user", "zone", "u1", "Asia/Calcuta")
    assert (exit_code, out, err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"two\nlines\n", b"t" * 10_000, b"\xff" * 20],
    ids=["empty", "break", "two lines", "long", "no text"],
)
def test_a_file_that_holds_no_secret_is_refused(ran: Ran, tmp_path: Path, content: bytes) -> None:
    """Nothing, more than a line, too much, and what is no text; Redis is not asked."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    for command in (("user", "token", "x", "--token-file"), ("session", "close", "--ssid-file")):
        exit_code, out, err = ran(*command, str(file))
        assert (exit_code, out) == (2, "")
        assert "it must hold one line with the secret" in err or "it is no text in UTF-8" in err


def test_a_secret_is_given_once(ran: Ran, tmp_path: Path) -> None:
    """On the command line or in a file, not both, and a session needs one of the two."""
    file = tmp_path / "secret"
    file.write_text("t" * 16)
    assert ran("user", "add", "x", "--token", "t" * 16, "--token-file", str(file))[0] == 2
    assert ran("session", "close", "x", "--ssid-file", str(file))[0] == 2
    assert ran("session", "close")[0] == 2


def test_the_help_says_that_arguments_can_be_seen(ran: Ran) -> None:
    """Of the commands that take a secret as an argument."""
    for command in (("user", "add"), ("session", "close")):
        assert "in the list of processes" in " ".join(ran(*command, "--help")[1].split())


def test_wrong_users_and_tokens_are_refused_in_one_line(ran: Ran) -> None:
    """A short token is not shown in the message; the message of a wrong user id says what is wrong with it."""
    exit_code, out, err = ran("user", "add", "x", "--token", "short one")
    assert (exit_code, out, err.count("\n")) == (1, "", 1)
    assert "16 to 512" in err
    assert "short one" not in err
    wrong = {"..": "must not be . or ..", " a": "white space", "a\x07": "printable", "u" * 129: "1 to 128"}
    for user, words in wrong.items():
        exit_code, out, err = ran("user", "add", user)
        assert (exit_code, out, err.count("\n")) == (1, "", 1)
        assert words in err
