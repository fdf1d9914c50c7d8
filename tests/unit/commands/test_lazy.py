"""The table of commands: it says what the commands say, and nothing is loaded that a command does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import click
import pytest

from streams.cli import COMMANDS, cli, main

ROOT = Path(__file__).parents[3]
HEAVY = ("faust", "aiokafka", "aiohttp", "redis")


def loaded(code: str, among: Collection[str]) -> set[str]:
    """Which of these modules a process of its own has loaded after that code."""
    script = f"{code}\nimport sys\nprint(*[name for name in {tuple(among)!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_row_says_what_the_command_says(name: str) -> None:
    """A row names the command, and its line is the first sentence of the command's own help."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None and command.name == name
    assert COMMANDS[name].line == command.get_short_help_str(limit=1_000)


def test_a_command_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a wrong use, as click says it."""
    assert main(["nothing"]) == 2
    assert "No such command 'nothing'" in capsys.readouterr().err


def test_the_list_of_commands_is_that_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Each name with its line, in the order of the alphabet."""
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == sorted(COMMANDS)


def test_the_list_of_commands_loads_none_of_them() -> None:
    """The command line itself, and its help, need neither Kafka's client nor Redis's nor the engine."""
    assert loaded("import streams.cli", HEAVY) == set()
    assert loaded("from streams.cli import main\nmain(['--help'])", (*HEAVY, "streams.commands")) == set()


def test_the_settings_are_listed_without_a_client() -> None:
    """A wrong setting is seen as quickly as that."""
    assert loaded("from streams.cli import main\nmain(['settings'])", HEAVY) == set()


@pytest.mark.parametrize("target", sorted({row.target.partition(":")[0] for row in COMMANDS.values()}))
def test_the_worker_alone_loads_the_engine(target: str) -> None:
    """It takes a second, for which no other command is to wait."""
    assert loaded(f"import {target}", ["faust"]) == ({"faust"} if target == "streams.commands.worker" else set())
