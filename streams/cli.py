"""The command line: the table of commands, and how a process ends.

A command's module is imported when the command is run or its own help is shown. So ``ecounters --help`` loads neither
the clients of Kafka and Redis nor the engine. To add a command, add a file to ``streams/commands`` and a row to
COMMANDS.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final, NamedTuple

import click

from ecounters.errors import Stop
from ecounters.native import BUILD


class Row(NamedTuple):
    """A row of COMMANDS. ``target``: the command's "module:attribute"; ``line``: the command's line in the help."""

    target: str
    line: str


COMMANDS: Final = {
    "audit": Row(
        "streams.commands.audit:audit", "Recount the log of events and compare the result with the workers' counters."
    ),
    "dlq": Row("streams.commands.dlq:dlq", "Show the dead letters by reason and field; --replay publishes them again."),
    "explain": Row(
        "streams.commands.audit:explain", "List the calls behind a counter, and the event that counted each."
    ),
    "replay": Row(
        "streams.commands.publish:replay",
        "Publish a log of events: FILE holds one JSON object a line; - is standard input.",
    ),
    "run": Row(
        "streams.commands.run:run", "Run everything on this machine: broker, store, one worker and simulated switches."
    ),
    "session": Row(
        "streams.commands.accounts:session",
        "Open and close sessions: a request can carry one in place of user and token.",
    ),
    "settings": Row("streams.commands.settings:settings", "List every setting: its value, default, unit and reason."),
    "simulate": Row("streams.commands.publish:simulate", "Publish simulated, realistic calls, as switches would."),
    "state": Row(
        "streams.commands.state:state", "Look into the saved state, check and repair it, copy it into a file and back."
    ),
    "topics": Row("streams.commands.topics:topics", "Create the missing topics, and check the others."),
    "user": Row(
        "streams.commands.accounts:user", "Add, list, remove and erase users, and give them new tokens and time zones."
    ),
    "worker": Row("streams.commands.worker:worker", "Run one worker: read events, keep counters, answer requests."),
}
"""name -> row, sorted by name. Each line repeats the first sentence of the command's own help; a test compares them."""


class LazyGroup(click.Group):
    """A click group of the commands in COMMANDS.

    The group imports the module of a command when the command is run or when its own help is shown, not before.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return a command; None if COMMANDS has no such name."""
        row = COMMANDS.get(name)
        if row is None:
            return None
        module, _, attribute = row.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands into the help, in click's own form. Imports no command: COMMANDS has the lines."""
        names = self.list_commands(context)
        width = formatter.width - 6 - max(map(len, names))
        lines = [click.Command(name, help=COMMANDS[name].line).get_short_help_str(width) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(list(zip(names, lines, strict=True)))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ecounters", message=f"%(prog)s, version %(version)s, {BUILD}")
def cli() -> None:
    """Live and windowed counters of telephony calls.

    \b
    Try it on one machine, without Kafka and Redis:
        ecounters run

    \b
    Or against your Kafka and Redis:
        export ECOUNTERS_BROKER=kafka-1:9092,kafka-2:9092
        export ECOUNTERS_REDIS=redis://redis:6379/0
        ecounters topics                     creates the topics
        ecounters user add acme              prints a token
        ecounters worker                     one for each partition at most
        ecounters simulate --rate 20         publishes simulated calls

    Every setting is an environment variable; `ecounters settings` lists them.
    """


def main(args: list[str] | None = None) -> int:
    """Run the command line ``args`` (None: that of the process) and return the exit code.

    0: the command is done; also after Ctrl-C, if this is how the command ends. 1: the command failed, with one line on
    stderr; ``ecounters audit`` also returns 1 for a difference. 2: an option or a setting is wrong, topics or a saved
    state do not fit, or Kafka or Redis refuses. 70: a worker crashed (``worker.EXIT_CRASHED``). 130: Ctrl-C stopped
    another command, or the reply to its question was no.
    """
    try:
        result = cli.main(args=args, prog_name="ecounters", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        return 130
    except Stop as stop:
        click.echo(f"ecounters: {stop}", err=True)
        return stop.exit_code
    except OSError as error:
        click.echo(f"ecounters: {error}", err=True)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
