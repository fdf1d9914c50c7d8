"""The command line: options, help, and how a process ends. What the commands do is elsewhere."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import BinaryIO, TypeVar

import click

from ecounters.errors import SettingsError, Stop
from streams.access.sessions import PERMISSIONS, Sessions
from streams.basics.terminal import Progress
from streams.basics.times import duration_s, moment_ms, now_ms
from streams.commands.audit import audit, explain
from streams.commands.common import run_to_end as run_to_end
from streams.commands.common import settings_with as _settings
from streams.commands.dlq import dlq
from streams.kafka.publisher import Outgoing
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.settings.table import SETTINGS, RunOptions, Settings, shown
from streams.tools import publish as publishing

T = TypeVar("T")


def _with_sessions(use: Callable[[Sessions], Awaitable[T]], settings: Settings | None = None) -> T:
    """Do one thing with the session store."""
    settings = settings or _settings()

    async def work() -> T:
        sessions = Sessions.connect(settings)
        try:
            return await use(sessions)
        finally:
            await sessions.close()

    return run_to_end(settings, work())


def _duration(context: click.Context, option: click.Parameter, text: str) -> int:
    """90s, 30m, 12h or 7d -> seconds."""
    seconds = duration_s(text)
    if seconds is None:
        raise click.BadParameter(f"{text!r} is no time such as 90s, 30m, 12h or 7d")
    return seconds


def _moment(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Milliseconds since 1970, or RFC 3339 with an offset -> ms."""
    if text is None or re.fullmatch(r"[0-9]{1,15}", text):
        return None if text is None else int(text)
    moment = moment_ms(text)
    if moment is None:
        raise click.BadParameter(f"{text!r} is no time such as 2026-03-01T09:00:00+05:30 or ms since 1970")
    return moment


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


# ------------------------------------------------------------------------------------------------ processes


@cli.command()
@click.option("--host", help="Address to serve HTTP on (ECOUNTERS_HOST).")
@click.option("--port", type=int, help="Port to serve HTTP on (ECOUNTERS_PORT).")
def worker(host: str | None, port: int | None) -> int:
    """Run one worker: read events, keep counters, answer requests.

    \b
    Workers share the partitions. Two on one machine:
        ecounters worker --port 8080
        ecounters worker --port 8081
    """
    settings = _settings(host=host, port=port)
    from streams.worker import run_worker  # the engine takes a second to load, which other commands need not wait for

    return run_worker(settings)


@cli.command()
@click.option("--no-simulate", is_flag=True, help="Without simulated switches: publish your own events.")
@click.option("--port", type=int, help="Port to serve HTTP on (ECOUNTERS_PORT).")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Where data is kept (ECOUNTERS_DATA_DIR).")
@click.option("--broker-port", type=click.IntRange(1, 65_535), help="Port of the embedded broker; any free one.")
def run(no_simulate: bool, port: int | None, data_dir: str | None, broker_port: int | None) -> int:
    """Run the whole thing on this machine: broker, store, a worker, simulated switches.

    For trying it out. Needs the extra: pip install 'ecounters[embedded]'.

    \b
        ecounters run
        ecounters run --no-simulate --broker-port 9092
    """
    settings = _settings(port=port, data_dir=data_dir)
    from streams.local.run import run_all

    return run_all(RunOptions(settings, simulate=not no_simulate, broker_port=broker_port or 0))


# ------------------------------------------------------------------------------------------------ setting up


@cli.command("settings")
def settings_() -> None:
    """List every setting: its value now, default, unit and reason."""
    problem, settings = None, Settings()
    try:
        settings = _settings()
    except SettingsError as error:
        problem = error
    rows = [("SETTING", "VALUE", "DEFAULT", "UNIT", "WHY")]
    rows += [(row.env, shown(settings, row), row.default or "-", row.unit, row.why) for row in SETTINGS]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join([*(row[at].ljust(widths[at]) for at in range(4)), row[4]]))
    if problem is not None:
        raise problem


@cli.command()
@click.option("--partitions", type=int, help="For topics that are made (ECOUNTERS_PARTITIONS).")
@click.option("--replication", type=int, help="Copies of each, for topics that are made (ECOUNTERS_REPLICATION).")
def topics(partitions: int | None, replication: int | None) -> None:
    """Make the topics that are missing, and check the others.

    There can be as many workers at work as there are partitions, and their number cannot be changed later.

    \b
        ecounters topics --partitions 24 --replication 3
    """
    settings = _settings(partitions=partitions, replication=replication)
    for line in run_to_end(settings, ensure_topics(settings.broker, TopicsSpec.of(settings))).lines:
        click.echo(line)


@cli.group()
def user() -> None:
    """Add, list and remove the users who may ask for counters."""


@user.command("add")
@click.argument("user_id", metavar="USER")
@click.option("--token", help="The token; made if it is not given.")
@click.option("--zone", help="The user's time zone, such as Asia/Kolkata; ECOUNTERS_ZONE if not given.")
@click.option("--deny", type=click.Choice(PERMISSIONS), multiple=True, help="Take a permission away.")
def user_add(user_id: str, token: str | None, zone: str | None, deny: tuple[str, ...]) -> None:
    """Add USER and print the token: the only time that it can be seen.

    \b
        ecounters user add acme --zone Asia/Kolkata
        TOKEN=$(ecounters user add acme)
    """
    settings = _settings()
    name = zone or str(settings.zone)
    click.echo(_with_sessions(lambda sessions: sessions.add_user(user_id, name, token, deny), settings))
    click.echo(f"Added {user_id}, days of {name}. Keep the token: it is not shown again.", err=True)


@user.command("list")
def user_list() -> None:
    """List the users: id, time zone, what is denied."""
    for found in _with_sessions(lambda sessions: sessions.list_users()):
        click.echo("\t".join([found.user_id, found.zone, *(["denied: " + " ".join(found.deny)] if found.deny else [])]))


@user.command("remove")
@click.argument("user_id", metavar="USER")
def user_remove(user_id: str) -> None:
    """Remove USER and end all its sessions. Its counters stay until they are too old."""
    _with_sessions(lambda sessions: sessions.remove_user(user_id))
    click.echo(f"Removed {user_id}.", err=True)


@user.command("token")
@click.argument("user_id", metavar="USER")
def user_token(user_id: str) -> None:
    """Give USER a new token in place of the old one, and print it. Sessions go on."""
    click.echo(_with_sessions(lambda sessions: sessions.new_token(user_id)))


@cli.group()
def session() -> None:
    """Open and close sessions, which stand for a user."""


@session.command("open")
@click.argument("user_id", metavar="USER")
@click.option("--agent", default="", help="Whose session it is, if it is an agent's.")
@click.option("--logged-out", is_flag=True, help="The agent is not logged in, and is refused (1043).")
@click.option("--ttl", default="12h", show_default=True, callback=_duration, help="How long it lasts.")
def session_open(user_id: str, agent: str, logged_out: bool, ttl: int) -> None:
    """Open a session of USER and print its ssid.

    \b
        SSID=$(ecounters session open acme --ttl 30m)
        curl -d "{\\"ssid\\":\\"$SSID\\"}" http://127.0.0.1:8080/api/v2/overallCount/Ecounters
    """
    click.echo(_with_sessions(lambda sessions: sessions.open_session(user_id, ttl, agent, logged_in=not logged_out)))


@session.command("close")
@click.argument("ssid")
def session_close(ssid: str) -> None:
    """End the session SSID."""
    _with_sessions(lambda sessions: sessions.close_session(ssid))
    click.echo("Closed.", err=True)


# ------------------------------------------------------------------------------------------------ events


@cli.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--speed", type=click.FloatRange(0), default=0.0, help="1: as it was recorded, 2: twice as fast; 0: flat out."
)
def replay(file: BinaryIO, speed: float) -> None:
    """Publish a log of events: FILE holds one JSON object a line; - is standard input.

    Publishing a log twice changes no counter. What is no event goes to the dead letters.

    \b
        ecounters replay calls.jsonl
        zcat calls.jsonl.gz | ecounters replay - --speed 1
    """
    settings = _settings()
    progress = Progress("published")
    messages = publishing.read_log(file)
    pace = publishing.at_speed(speed)
    run_to_end(settings, publishing.publish(messages, settings.broker, settings.topic, pace, progress))
    progress.end()


@cli.command()
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Calls a second.")
@click.option("--users", type=click.IntRange(1), default=5, show_default=True, help="Users that call.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same calls again.")
@click.option("--chaos", is_flag=True, help="Duplicates, disorder, lost and late events.")
@click.option("--out", type=click.File("wb"), help="Write a log instead of publishing; needs --events.")
@click.option("--events", type=click.IntRange(1), help="Stop after so many; without it, go on for ever.")
@click.option(
    "--speed", type=click.IntRange(0, 1), default=1, show_default=True, help="1: each in its time; 0: flat out."
)
@click.option("--start", callback=_moment, help="When the first call is: RFC 3339 or ms since 1970; now.")
def simulate(
    rate: float,
    users: int,
    seed: int,
    chaos: bool,
    out: BinaryIO | None,
    events: int | None,
    speed: int,
    start: int | None,
) -> None:
    """Publish made-up but realistic calls, as switches would.

    With --start in the past, it catches up first and then keeps to the clock.

    \b
        ecounters simulate --rate 20
        ecounters simulate --start 2026-03-01T00:00:00Z --rate 2 --chaos
        ecounters simulate --out calls.jsonl --events 100000
    """
    from ecounters.simulator.world import Plan
    from ecounters.simulator.world import simulate as made_up

    start_ms = now_ms() if start is None else start
    plan = Plan(seed=seed, users=users, rate_per_s=rate, start_ms=start_ms, chaos=chaos)
    published = itertools.islice(made_up(plan), events)
    if out is not None:
        if events is None:
            raise click.UsageError("--out needs --events: the calls never end")
        _write(out, (event.value for event in published))
        return
    settings = _settings()
    messages = (Outgoing(event.value, event.user_id, event.user_id is None, event.at_ms) for event in published)
    pace = publishing.by_the_clock if speed else publishing.at_speed(0)
    progress = Progress("published")
    try:
        run_to_end(settings, publishing.publish(messages, settings.broker, settings.topic, pace, progress))
    except KeyboardInterrupt:
        click.echo("", err=True)  # how one ends it
    progress.end()


def _write(out: BinaryIO, values: Iterator[bytes]) -> None:
    progress = Progress("wrote")
    for value in values:
        out.write(value + b"\n")
        progress.add(1)
    progress.end()


cli.add_command(audit)
cli.add_command(explain)
cli.add_command(dlq)


# ------------------------------------------------------------------------------------------------ the end


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
