"""Starts ``ecounters worker`` and measures its event loop: the longest time that it was kept busy at a stretch.

``python -m tests.support.loop_pauses worker`` runs the worker in this process. Each callback of the loop is measured;
nothing else runs during one. ``longest_step`` asks such a worker.

The time is the processor's time of the loop's thread: another process that has the processor meanwhile does not count.
``--roll-up-s 1`` lets the worker roll up windows every second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
import threading
import time
from typing import Any, Final, NamedTuple

from streams.cli import main
from streams.engine import roll_up
from tests.support.steps import unit_s
from tests.support.workers import Worker

LAUNCHER: Final = ("tests.support.loop_pauses",)
"""The ``launcher`` of a Worker that is measured."""
ROLLING_UP: Final = (*LAUNCHER, "--roll-up-s", "1")
"""The ``launcher`` of a Worker that is measured, and that rolls up windows every second."""
MARK: Final = "longest step of the loop: "
LIMIT_S: Final = 20.0
UNITS: Final = 5
"""The unit is measured so many times, and the longest time counts, as of the steps: that of the first, some 13 ms."""


class Step(NamedTuple):
    """The longest callback of a loop since it was asked last. ``what``: the callback, for people.

    ``busy``: its time in units of what ``tests.support.steps`` measures, so that a slow or busy machine fails no test.
    """

    busy: float
    busy_ms: float
    what: str


class _Meter:
    """Measures all callbacks of the main thread's loop. SIGUSR1 prints the longest to stderr, and begins anew."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._what = ""
        self._collecting_s = 0.0

    def start(self) -> None:
        """Wrap the method with which a loop runs a callback, and listen to the signal."""
        run = asyncio.Handle._run

        def measured(handle: Any) -> None:
            if threading.current_thread() is not threading.main_thread():  # of the consumer's loop
                run(handle)
                return
            self._collecting_s = 0.0
            began = time.thread_time()
            run(handle)
            took_s = time.thread_time() - began
            if took_s > self._longest_s:
                collecting = f"{self._collecting_s * 1000:.1f} ms of it collecting garbage"
                self._longest_s, self._what = took_s, f"{collecting}: {_coroutines(handle)} {handle!r}"

        asyncio.Handle._run = measured  # type: ignore[assignment, method-assign]
        signal.signal(signal.SIGUSR1, self._print)
        gc.callbacks.append(self._note_collection)

    def _note_collection(self, phase: str, _: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self._collecting_s += time.thread_time() * (1 if phase == "stop" else -1)

    def _print(self, *_: object) -> None:
        print(f"{MARK}{self._longest_s * 1000:.1f} ms {self._what}", file=sys.stderr, flush=True)
        self._longest_s = 0.0


def _coroutines(handle: Any) -> str:
    """The coroutines of the task that a handle has run a step of, and the lines where they wait now; "" for no task."""
    task = getattr(handle._callback, "__self__", None)
    awaited: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    names = []
    while hasattr(awaited, "cr_frame"):
        line = awaited.cr_frame.f_lineno if awaited.cr_frame is not None else "ended"
        names.append(f"{awaited.__qualname__}:{line}")
        awaited = awaited.cr_await
    return " > ".join(names)


def longest_step(worker: Worker) -> Step:
    """The longest callback of a worker's loop since the last call. The worker was started by LAUNCHER."""
    before = worker.log.read_text(errors="replace").count(MARK)
    worker.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + LIMIT_S
    while True:
        lines = [line for line in worker.log.read_text(errors="replace").splitlines() if line.startswith(MARK)]
        if len(lines) > before:
            busy_ms, _, what = lines[-1].removeprefix(MARK).partition(" ms ")
            unit_ms = max(unit_s() for _ in range(UNITS)) * 1000
            return Step(float(busy_ms) / unit_ms, float(busy_ms), what)
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.01)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.loop_pauses")
    parser.add_argument("--roll-up-s", type=float, default=roll_up.ROLL_UP_INTERVAL_S)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    vars(roll_up)["ROLL_UP_INTERVAL_S"] = options.roll_up_s
    _Meter().start()
    sys.exit(main(options.command))
