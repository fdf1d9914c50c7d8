"""The command line of the comparison: which engines, how many events and rounds; prints the table."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import click

from ecounters.errors import Stop
from tests.bench.__main__ import GIVEN, INTERRUPTED, end_on_signals, machine
from tests.bench.latency import RATE
from tests.bench.peers.catalogue import ENGINES
from tests.bench.peers.engine import Engine
from tests.bench.peers.measures import KILL_SHARE, WARM_SHARE, Bench
from tests.bench.peers.ours import Ours, installs
from tests.bench.peers.redis_server import redis_server
from tests.bench.peers.rows import COLUMNS, Row
from tests.bench.report import Table, say
from tests.bench.testbed import PARTITIONS, Testbed

PARTS: Final = ("throughput", "latency", "kill")
OURS: Final = "ecounters"
NOTES: Final = (
    f"events/s: of a process that is started on the full topic, from {WARM_SHARE:.0%} of its events on until the "
    "last one is counted; the median of the rounds, in which engines take turns",
    "CPU µs: user and system time for each event, in the same span: of all processes of the engine, with its Redis and "
    "without the broker",
    "MB: the most memory in RAM, summed over these processes, in the round that had most",
    "differ: counters that are not as in the recount at the end, in the worst round (the sum of what they differ by)",
    "p50, p99: from publishing an event until it can be read where the engine's documentation reads counters (its own "
    f"HTTP, Redis, or a topic of results), beside {RATE:,} events/s",
    f"differ after a kill: the same as differ, after {KILL_SHARE:.0%} of a log that is published at {RATE:,} events/s, "
    "SIGKILL to the engine's processes, and a restart",
)


def _chosen(keys: tuple[str, ...]) -> list[Row]:
    """The rows of the engines that were asked for; all, if none was."""
    ours = installs() if not keys or OURS in keys else []
    wanted: list[Engine | Ours] = [*ours, *(one for one in ENGINES if not keys or one.key in keys)]
    return [Row(engine) for engine in wanted]


class Sizes(NamedTuple):
    """How much is measured: the options of the command line."""

    events: int
    rounds: int
    seconds: float
    kill_seconds: float


def _run(bench: Bench, rows: list[Row], parts: tuple[str, ...], sizes: Sizes) -> None:
    if "throughput" in parts:
        for turn in range(1, sizes.rounds + 1):
            say(f"round {turn} of {sizes.rounds}: {sizes.events:,} events")
            for row in rows:
                row.count(bench, sizes.events)
    for row in rows:
        if "latency" in parts:
            row.measure_latency(bench, sizes.seconds)
        if "kill" in parts:
            row.kill(bench, sizes.kill_seconds)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("engines", nargs=-1, type=click.Choice([OURS, *(one.key for one in ENGINES)]), metavar="[ENGINE]...")
@click.option("--broker", required=True, envvar=GIVEN, help=f"An Apache Kafka [{GIVEN}].")
@click.option("--events", type=click.IntRange(10_000), default=500_000, show_default=True, help="Of the throughput.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of the throughput.")
@click.option(
    "--seconds", type=click.FloatRange(5), default=15.0, show_default=True,
    help="Of the latency's probes.",
)  # fmt: skip
@click.option(
    "--kill-seconds", type=click.FloatRange(5), default=48.0, show_default=True,
    help=f"Of the log in which engines are killed, at {KILL_SHARE:.0%} of it.",
)  # fmt: skip
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this; may be repeated.")
@click.option("--keep", is_flag=True, help="Keep the logs of the processes, and say where they are.")
def main(engines: tuple[str, ...], broker: str, parts: tuple[str, ...], keep: bool, **sizes: Any) -> None:
    """Measure this project beside other stream processors that count the same calls.

    \b
    ENGINE is one or more names from the first column of the table in tests/bench/README.md; all, if none is given.
    `make bench-peers` installs what they need, and starts an Apache Kafka:
        make bench-peers PEERS="ecounters kafka-streams --rounds 5"

    Some engines count a part of the log in the throughput: the table says which.
    Progress goes to stderr, the table to stdout.
    """
    end_on_signals()
    print(machine())
    rows = _chosen(engines)
    size = Sizes(**sizes)
    table = Table(
        f"{size.events:,} events in {PARTITIONS} partitions, {size.rounds} rounds", COLUMNS, notes=list(NOTES)
    )
    try:
        with ExitStack() as exits:
            testbed = exits.enter_context(Testbed(broker, keep=keep))
            bench = Bench(testbed, exits.enter_context(redis_server(testbed.dir)))
            bench.prepare()
            _run(bench, rows, parts or PARTS, size)
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(INTERRUPTED)
    except Stop as stop:
        raise click.ClickException(str(stop)) from stop
    for row in rows:
        table.add(*row.cells())
        table.notes.extend(row.notes)
    table.print()
    sys.exit(any(row.failed for row in rows))


if __name__ == "__main__":
    main(prog_name="python -m tests.bench.peers")
