"""Processes beside the worker, which prepare their work, say so, and begin when they are told to.

with Helper("tests.support.attacks.asker", job) as asker:   # a module that calls ``serve``
    asker.wait_ready()
    asker.go()
    result = asker.result()
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from tests.support.workers import END_LIMIT_S, ROOT

READY: Final = "ready"
Job = Mapping[str, Any]


class Helper:
    """A process that runs a module. ``job``: what it is to do; of JSON."""

    def __init__(self, module: str, job: Job) -> None:
        self._module = module
        self.process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait(END_LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        assert line, f"{self._module} ended with exit code {self.process.wait(END_LIMIT_S)}"
        return line

    def wait_ready(self) -> None:
        """Wait until it has prepared all."""
        assert self._hear() == READY

    def go(self) -> None:
        """Let it begin."""
        self._say("go")

    def result(self) -> dict[str, Any]:
        """Wait until it is done, and return its result."""
        result: dict[str, Any] = json.loads(self._hear())
        return result


def serve(prepare: Callable[[Job], Callable[[], Job]], niceness: int = 0) -> None:
    """The main function of a helper: prepare the job, wait, do it, and say the result.

    ``niceness``: of an attacker, which is to take no processor from the worker. What is prepared is kept from the
    garbage collector.
    """
    os.nice(niceness)
    begin = prepare(json.loads(sys.stdin.readline()))
    gc.collect()
    gc.freeze()
    print(READY, flush=True)
    if sys.stdin.readline():
        print(json.dumps(begin()), flush=True)
