"""Starts ``ecounters worker`` and measures its event loop: the longest time that it was kept busy at a stretch.

``python -m tests.support.loop_pauses worker`` runs the worker in this process. Each callback of the loop is measured;
nothing else runs during one. ``longest_step`` asks such a worker.

The time is the processor's time of the loop's thread: another process that has the processor meanwhile does not count.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import Any, Final, NamedTuple

from tests.support.workers import Worker

LAUNCHER: Final = ("tests.support.loop_pauses",)
"""The ``launcher`` of a Worker that is measured."""
MARK: Final = "longest step of the loop: "
LIMIT_S: Final = 20.0


class Step(NamedTuple):
    """The longest callback of a loop since it was asked last. ``what``: the callback, for people."""

    busy_ms: float
    what: str


class _Meter:
    """Measures all callbacks of the loops of this process. SIGUSR1 prints the longest to stderr, and begins anew."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._what = ""

    def start(self) -> None:
        """Wrap the method with which a loop runs a callback, and listen to the signal."""
        run = asyncio.Handle._run

        def measured(handle: Any) -> None:
            began = time.thread_time()
            run(handle)
            took_s = time.thread_time() - began
            if took_s > self._longest_s:
                self._longest_s, self._what = took_s, repr(handle)

        asyncio.Handle._run = measured  # type: ignore[assignment, method-assign]
        signal.signal(signal.SIGUSR1, self._print)

    def _print(self, *_: object) -> None:
        print(f"{MARK}{self._longest_s * 1000:.1f} ms {self._what}", file=sys.stderr, flush=True)
        self._longest_s = 0.0


def longest_step(worker: Worker) -> Step:
    """The longest callback of a worker's loop since the last call. The worker was started by LAUNCHER."""
    before = worker.log.read_text(errors="replace").count(MARK)
    worker.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + LIMIT_S
    while True:
        lines = [line for line in worker.log.read_text(errors="replace").splitlines() if line.startswith(MARK)]
        if len(lines) > before:
            busy_ms, _, what = lines[-1].removeprefix(MARK).partition(" ms ")
            return Step(float(busy_ms), what)
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.01)


if __name__ == "__main__":
    _Meter().start()
    from streams.cli import main as run

    sys.exit(run(sys.argv[1:]))
