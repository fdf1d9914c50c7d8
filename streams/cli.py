"""The command line: the table of commands, and how a process ends.

A command's module is imported when the command is run or its own help is shown. So ``ecounters --help`` loads neither
the clients of Kafka and Redis nor the engine. A new command is a file in ``streams/commands`` and a row in COMMANDS.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final, NamedTuple

import click

from ecounters.errors import Stop


class Row(NamedTuple):
    """A command of the table: where it is, as "module:attribute", and its line in the list of commands."""

    target: str
    line: str


COMMANDS: Final = {
    "audit": Row("streams.commands.audit:audit", "Recount the log of events, and compare with what the workers say."),
    "dlq": Row("streams.commands.dlq:dlq", "Show what was refused and why; --replay publishes it again."),
    "explain": Row(
        "streams.commands.audit:explain", "List the calls behind a number, and the event that counted each."
    ),
    "replay": Row(
        "streams.commands.publish:replay",
        "Publish a log of events: FILE holds one JSON object a line; - is standard input.",
    ),
    "run": Row(
        "streams.commands.run:run", "Run the whole thing on this machine: broker, store, a worker, simulated switches."
    ),
    "session": Row("streams.commands.accounts:session", "Open and close sessions, which stand for a user."),
    "settings": Row(
        "streams.commands.settings:settings", "List every setting: its value now, default, unit and reason."
    ),
    "simulate": Row("streams.commands.publish:simulate", "Publish made-up but realistic calls, as switches would."),
    "topics": Row("streams.commands.topics:topics", "Make the topics that are missing, and check the others."),
    "user": Row("streams.commands.accounts:user", "Add, list and remove the users who may ask for counters."),
    "worker": Row("streams.commands.worker:worker", "Run one worker: read events, keep counters, answer requests."),
}
"""name -> command. Each line repeats the first sentence of the command's own help, which a test holds."""


class LazyGroup(click.Group):
    """The group of COMMANDS. It imports a command's module only to run the command or to show its own help."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names, in the order of the list."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        row = COMMANDS.get(name)
        if row is None:
            return None
        module, _, attribute = row.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands into the help, as click does, but from the table alone."""
        names = self.list_commands(context)
        width = formatter.width - 6 - max(map(len, names))
        lines = [click.Command(name, help=COMMANDS[name].line).get_short_help_str(width) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(list(zip(names, lines, strict=True)))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ecounters")
def cli() -> None:
    """Live and windowed counters of telephony calls.

    \b
    Try it on one machine, with nothing installed beforehand:
        ecounters run

    \b
    Or against your Kafka and Redis:
        export ECOUNTERS_BROKER=kafka-1:9092,kafka-2:9092
        export ECOUNTERS_REDIS=redis://redis:6379/0
        ecounters topics                     make the topics
        ecounters user add acme              prints a token
        ecounters worker                     as many as you like
        ecounters simulate --rate 20         events to look at

    Every setting is an environment variable; `ecounters settings` lists them.
    """


def main(args: list[str] | None = None) -> int:
    """Run a command; the exit code: 2 for a wrong option or setting, 1 if it could not be done, with a line on why."""
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
