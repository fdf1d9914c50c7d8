"""``ecounters replay`` and ``ecounters simulate``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO

import click

from ecounters.simulator import world
from streams.basics.terminal import Progress
from streams.basics.times import epoch_ms, moment_ms, now_ms
from streams.commands.common import settings_with
from streams.kafka.publisher import Outgoing
from streams.tools import publish as publishing
from streams.tools.run_to_end import run_to_end


def _moment(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Milliseconds since 1970, or RFC 3339 with an offset -> ms."""
    if text is None:
        return None
    moment = moment_ms(text) if (at_ms := epoch_ms(text)) is None else at_ms
    if moment is None:
        raise click.BadParameter(f"{text!r} is no time such as 2026-03-01T09:00:00+05:30 or ms since 1970")
    return moment


@click.command()
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
    settings = settings_with()
    progress = Progress("published")
    messages = publishing.read_log(file)
    pace = publishing.at_speed(speed)
    run_to_end(settings, publishing.publish(messages, settings.broker, settings.topic, pace, progress))
    progress.end()


@click.command()
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
    start_ms = now_ms() if start is None else start
    plan = world.Plan(seed=seed, users=users, rate_per_s=rate, start_ms=start_ms, chaos=chaos)
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
