"""The command line of the bench: which parts, on which broker, how many events."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from aiokafka.errors import KafkaError

from ecounters.errors import Stop
from tests.bench.answers import answers
from tests.bench.flood import backlog, live
from tests.bench.growth import growth
from tests.bench.http_speed import http_speed
from tests.bench.latency import latency
from tests.bench.memory import live_memory, steady_memory
from tests.bench.pauses import pauses
from tests.bench.report import say
from tests.bench.restore import restore
from tests.bench.starts import starts
from tests.bench.stream import stream
from tests.bench.testbed import Testbed
from tests.bench.throughput import PAIRS, make_log, run_job, throughput

PARTS: Final = (
    "throughput", "latency", "memory", "restore", "starts", "flood", "answers", "stream", "http", "pauses", "growth",
)  # fmt: skip
GIVEN: Final = "ECOUNTERS_TEST_BROKER"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED: Final = 130
"""Exit code of a run that was interrupted, as shells use it for Ctrl-C."""


class Bench:
    """The chosen parts, on one broker. ``failed``: whether a part could not be measured."""

    def __init__(
        self, testbed: Callable[[], Testbed], parts: tuple[str, ...], events: int, pairs: int, seconds: float
    ) -> None:
        self._testbed = testbed
        self._parts = parts
        self._events = events
        self._pairs = pairs
        self._seconds = seconds
        self.failed = False

    def run(self) -> None:
        """Measure one part after the other, each on a testbed of its own. A part that fails is reported and skipped."""
        if {"throughput", "restore"} & set(self._parts):
            self._try("throughput and restore", self._throughput_and_restore)
        if "latency" in self._parts:
            self._try("latency", lambda testbed: latency(testbed, self._seconds).print())
        if "memory" in self._parts:
            self._try("memory of a live call", lambda testbed: live_memory(testbed).print())
            self._try("memory over many events", lambda testbed: steady_memory(testbed).print())
        if "starts" in self._parts:
            self._try("starts", lambda testbed: starts(testbed).print())
        if "flood" in self._parts:
            self._try("a flood behind", lambda testbed: backlog(testbed, self._events).print())
            self._try("a flood as it happens", lambda testbed: live(testbed, self._events).print())
        if "answers" in self._parts:
            answers().print()
        if "stream" in self._parts:
            self._try("listeners", lambda testbed: stream(testbed, self._events).print())
        if "http" in self._parts:
            self._try("answers a second", lambda testbed: http_speed(testbed).print())
        if "pauses" in self._parts:
            self._try("the longest steps", lambda testbed: pauses(testbed).print())
        if "growth" in self._parts:
            self._try("how cost grows", lambda testbed: growth(testbed, self._pairs).print())

    def _try(self, what: str, measure: Callable[[Testbed], None]) -> None:
        say(f"{what}: starting broker and store")
        try:
            with self._testbed() as testbed:
                measure(testbed)
        except (Stop, KafkaError, OSError, AssertionError, subprocess.SubprocessError) as error:
            say(f"{what} could not be measured: {error}")
            self.failed = True

    def _throughput_and_restore(self, testbed: Testbed) -> None:
        deployment, log = make_log(testbed, self._events)
        if "throughput" in self._parts:
            table, deployment = throughput(testbed, deployment, log, self._pairs)
            table.print()
        else:
            say("one job, for a changelog to restore")
            run_job(testbed, deployment, log)
        if "restore" in self._parts:
            restore(testbed, deployment).print()


def machine() -> str:
    """The machine, in a line: processors, Python, load."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} processors ({model}), Python {platform.python_version()}, load average before: {load}"


def end_on_signals() -> None:
    """Raise KeyboardInterrupt at the first signal that asks for the end. A shell has background processes ignore it."""
    for one in SIGNALS:
        signal.signal(one, _interrupt)


def _interrupt(number: int, frame: Any) -> None:
    """Ignore the next ones: they would end the cleaning up, and leave processes behind."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option(
    "--events", type=click.IntRange(10_000), default=1_000_000, show_default=True,
    help="Of the log of throughput, restore and stream; of the flood.",
)  # fmt: skip
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=PAIRS,
    show_default=True,
    help="Throughput: raw and job, in turns. Growth: turns.",
)
@click.option(
    "--seconds", type=click.FloatRange(10), default=20.0, show_default=True, help="Latency: how long probes are sent."
)
@click.option("--broker", help=f"A Kafka to measure on besides the embedded one [{GIVEN}].", envvar=GIVEN)
@click.option("--only-broker", is_flag=True, help="Only on that Kafka, not on the embedded one.")
@click.option("--keep", is_flag=True, help="Keep the logs of the workers, and say where they are.")
def main(
    parts: tuple[str, ...], events: int, pairs: int, seconds: float, broker: str | None, only_broker: bool, keep: bool
) -> None:
    """Measure real worker processes on this machine.

    \b
    PART is one or more of these; all, if none is given:
        throughput   a full log: read and dropped, and as the whole job, in turns
        restore      the state of the last job: restored by new workers; start and stop
        latency      publish to visible in an answer, at 5,000 events/s
        memory       bytes for each live call; growth while calls come and go
        starts       a worker with 256 partitions, until it is ready
        flood        a million bad events: what they leave of the rate of good ones
        answers      one answer over 10,000 cells, with filters and as a series; no process
        stream       2,000 listeners: what they leave of the rate
        http         answers a second: of a user who does not change, and of one who does
        pauses       the longest step of the event loop, under logs and requests that are made for it
        growth       cost of an event by accounts, live calls, partitions and workers; a quarter of an hour

    \b
    Progress goes to stderr, results to stdout:
        python -m tests.bench > results.txt
        python -m tests.bench throughput --events 100000 --pairs 5

    The broker and the store are embedded ones with data in a directory under TMPDIR, which is removed at the end.
    """
    if not Path("/proc/self/stat").exists():
        raise click.ClickException("the bench reads /proc, which only Linux has")
    if only_broker and not broker:
        raise click.UsageError(f"--only-broker needs --broker or {GIVEN}")
    end_on_signals()
    print(machine())
    brokers: list[str | None] = ([] if only_broker else [None]) + ([broker] if broker else [])
    benches = [Bench(partial(Testbed, at, keep=keep), parts or PARTS, events, pairs, seconds) for at in brokers]
    try:
        for bench in benches:
            bench.run()
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(INTERRUPTED)
    sys.exit(any(bench.failed for bench in benches))


if __name__ == "__main__":
    main(prog_name="python -m tests.bench")
