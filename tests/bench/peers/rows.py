"""A row of the table: what was measured of an engine, and what could not be, and why."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Final

from aiokafka.errors import KafkaError

from ecounters.errors import Stop
from tests.bench.latency import RATE
from tests.bench.peers.compare import Difference
from tests.bench.peers.engine import Engine
from tests.bench.peers.measures import Bench, Work
from tests.bench.peers.ours import Ours
from tests.bench.report import Cell, median, say

MB: Final = 1_000_000
NONE: Final = "-"
FAILURES: Final = (Stop, KafkaError, OSError, AssertionError, subprocess.SubprocessError)
"""What a measurement may fail with. The others are measured nevertheless."""
COLUMNS: Final = ("", "events/s", "CPU µs", "MB", "differ", "p50 ms", "p99 ms", "differ after a kill")


class Row:
    """An engine and its measurements. ``notes``: what the table has to say about it."""

    def __init__(self, engine: Engine | Ours) -> None:
        self.engine = engine
        self.notes = [f"{engine.title}: {engine.why_not}"] if engine.why_not else []
        if engine.share < 1:
            self.notes.append(f"{engine.title}: its log is {engine.share:.0%} of the others'; all would take minutes")
        if engine.share > 1:
            self.notes.append(f"{engine.title}: its log is {engine.share:.0%} of the others': theirs takes it a second")
        if engine.kill_rate != RATE:
            self.notes.append(f"{engine.title}: the log in which it is killed has {engine.kill_rate} events/s")
        self.failed = False
        self._works: list[Work] = []
        self._latency: tuple[float, float] | None = None
        self._killed: Difference | None = None

    def count(self, bench: Bench, events: int) -> None:
        """Measure one round of throughput."""

        def work() -> None:
            done = bench.throughput(self.engine, events)
            say(f"{self.engine.title}: {done.rate:,.0f}/s, {done.cpu_us:.1f} µs, differ: {done.difference}")
            self._works.append(done)

        self._attempt("throughput", work)

    def measure_latency(self, bench: Bench, seconds: float) -> None:
        """Measure the latency."""

        def work() -> None:
            self._latency = bench.latency(self.engine, seconds)
            say(f"{self.engine.title}: p50 {self._latency[0]:.1f} ms, p99 {self._latency[1]:.1f} ms")

        if self._works and median([done.rate for done in self._works]) < RATE:
            self.notes.append(
                f"{self.engine.title}: it counts fewer than {RATE:,} events/s, so it has no latency there"
            )
        elif not self.engine.why_not:
            self._attempt("latency", work)

    def kill(self, bench: Bench, seconds: float) -> None:
        """Measure what a kill leaves wrong."""

        def work() -> None:
            self._killed = bench.killed(self.engine, seconds)
            say(f"{self.engine.title}: differ after a kill: {self._killed}")

        if not self.engine.why_not:
            self._attempt("kill", work)

    def _attempt(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except FAILURES as error:
            said = str(error) or type(error).__name__
            say(f"{self.engine.title}, {what}: {said}")
            self.notes.append(f"{self.engine.title}, {what}: {said.splitlines()[0]}")
            self.failed = True

    def cells(self) -> list[Cell]:
        """Its cells, in the order of COLUMNS."""
        work: list[Cell] = [NONE] * 4
        if self._works:
            apart = [done.difference for done in self._works if done.difference is not None]
            work = [
                median([done.rate for done in self._works]),
                median([done.cpu_us for done in self._works]),
                round(max(done.peak_bytes for done in self._works) / MB),
                str(max(apart)) if apart else "counts nothing",
            ]
        killed = NONE if self._killed is None else str(self._killed)
        return [self.engine.title, *work, *(self._latency or (NONE, NONE)), killed]
