"""``ecounters replay`` and ``ecounters simulate``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO, Final

import click

from ecounters.simulator import world
from streams.basics.terminal import Progress
from streams.basics.times import epoch_ms, moment_ms, now_ms
from streams.commands.common import settings_with
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Outgoing
from streams.tools import publish as publishing
from streams.tools.run_to_end import run_to_end

RATE_MAX: Final = 100_000
"""The most calls a second. Each 25 have a switch of their own, so with very many the first event never comes."""


def _moment(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """click callback: ms since 1970, or RFC 3339 with an offset -> ms."""
    if text is None:
        return None
    moment = moment_ms(text) if (at_ms := epoch_ms(text)) is None else at_ms
    if moment is None:
        raise click.BadParameter(f"{text!r} is no time such as 2026-03-01T09:00:00+05:30 or ms since 1970")
    return moment


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="1: as it was recorded; 2: twice as fast; 0: as fast as possible.",
)
def replay(file: BinaryIO, speed: float) -> None:
    """Publish a log of events: FILE holds one JSON object a line; - is standard input.

    Publishing a log twice does not change the counters of calls that have ended: a worker ignores an event that it has
    counted already. But a switch.snapshot or switch.restarted is told again: it ends those calls that are live now,
    that it does not name and that nothing later was heard of. Such an end lifts by itself when something later comes.
    A line that is no event becomes a dead letter, see `ecounters dlq`.

    \b
        ecounters replay calls.jsonl
        zcat calls.jsonl.gz | ecounters replay - --speed 1
    """
    settings = settings_with()
    progress = Progress("published")
    pace = publishing.at_speed(speed)
    run_to_end(settings, publishing.publish_log(file, Kafka.of(settings), settings.topic, pace, progress))
    progress.end()
    click.echo("`ecounters dlq` shows what workers refuse of them.", err=True)


@click.command()
@click.option(
    "--rate",
    type=click.FloatRange(0, RATE_MAX, min_open=True),
    default=5.0,
    show_default=True,
    help="Calls a second.",
)
@click.option(
    "--users", type=click.IntRange(1), default=5, show_default=True, help="Number of users, u1, u2 and so on."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Equal seeds give equal calls.")
@click.option("--steady", is_flag=True, help="The same rate at all hours. Without it nights, by UTC, are quiet.")
@click.option("--chaos", is_flag=True, help="Add duplicates, disorder, and lost, late and broken events.")
@click.option("--out", type=click.File("wb"), help="Write a log to this file instead; needs --events.")
@click.option("--events", type=click.IntRange(1), help="Stop after this number of events; never if not given.")
@click.option(
    "--speed",
    type=click.IntRange(0, 1),
    default=1,
    show_default=True,
    help="1: publish each event at its time; 0: as fast as possible.",
)
@click.option("--start", callback=_moment, help="Time of the first call: RFC 3339 or ms since 1970.  [default: now]")
def simulate(
    rate: float,
    users: int,
    seed: int,
    steady: bool,
    chaos: bool,
    out: BinaryIO | None,
    events: int | None,
    speed: int,
    start: int | None,
) -> None:
    """Publish simulated, realistic calls, as switches would.

    With --start in the past, it publishes as fast as possible until the events reach the present, and then each event
    at its time. Without --events, Ctrl-C ends it. Events go to the topic ECOUNTERS_TOPIC.

    \b
        ecounters simulate --rate 20
        ecounters simulate --start 2026-03-01T00:00:00Z --rate 2 --chaos
        ecounters simulate --out calls.jsonl --events 100000
    """
    start_ms = now_ms() if start is None else start
    try:
        plan = world.Plan(start_ms, seed, users, rate, day_shape=not steady, chaos=chaos)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    published = itertools.islice(world.simulate(plan), events)
    if out is not None:
        if events is None:
            raise click.UsageError("--out needs --events: the calls never end")
        _write(out, (event.value for event in published))
        return
    settings = settings_with()
    messages = (Outgoing(event.value, event.user_id, event.user_id is None, event.at_ms) for event in published)
    pace = publishing.by_the_clock if speed else publishing.at_speed(0)
    progress = Progress("published")
    try:
        run_to_end(settings, publishing.publish(messages, Kafka.of(settings), settings.topic, pace, progress))
    except KeyboardInterrupt:
        click.echo("", err=True)  # Ctrl-C is the usual end: a new line keeps the total apart from the terminal's ^C
    progress.end()


def _write(out: BinaryIO, values: Iterator[bytes]) -> None:
    """Write events to a file, one a line, with progress on stderr."""
    progress = Progress("wrote")
    for value in values:
        out.write(value + b"\n")
        progress.add(1)
    progress.end()
