"""The care of child processes: what ``ecounters run`` and the tests share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

GUARD_LIMIT_S: Final = 10
"""What a child has to end in when its parent is gone."""
LINES_SHOWN: Final = 10
TAIL_BYTES: Final = 16_384
_NOISE: Final = "weak version"
"""The loader's remark on a libc older than the binary's; it does no harm."""

# Reads lines of pids; when there are no more to come, ends those of the last line, one after the other.
_GUARD: Final = f"""
while read -r line; do pids=$line; done
for pid in $pids; do
  kill -TERM "$pid"
  left={GUARD_LIMIT_S * 10}
  while kill -0 "$pid" && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
  kill -KILL "$pid"
done
"""


class Child:
    """A process that this one has started. Its output goes to a file; a terminal's Ctrl-C does not reach it.

    It is in a session of its own, so that its parent alone hears of Ctrl-C and can end its children in order.
    ``held``: file descriptors that it keeps open.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=held,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, -9 for signal 9; None: it lives."""
        return self._process.poll()

    def last_lines(self) -> list[str]:
        """The end of its output, at most LINES_SHOWN lines."""
        with self.log.open("rb") as output:
            output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip() and _NOISE not in line][-LINES_SHOWN:]

    def end(self, limit_s: float) -> int:
        """Ask it to end (SIGTERM), and make it after ``limit_s`` (SIGKILL); its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL; its exit code."""
        self._process.kill()
        return self._process.wait()


class Guard:
    """Ends children if this process cannot do it any more, whatever ended it: SIGKILL, a crash, the OOM killer.

    A small shell holds the reading end of a pipe whose writing end is here and nowhere else (Python closes it in
    children), so it learns of this process's death from the system, on Linux and on macOS. Then it ends the children in
    order, the last one started first: SIGTERM, and after GUARD_LIMIT_S SIGKILL. Not covered: that somebody kills the
    shell as well; a child started in the microseconds before ``watch``; and children of children.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def watch(self, child: Child) -> None:
        """Take a child into care."""
        self._children.insert(0, child)
        self._tell()

    def release(self, child: Child) -> None:
        """It has ended: its pid may soon be another's."""
        self._children.remove(child)
        self._tell()

    def close(self) -> None:
        """End what is left, if anything is, and go."""
        for child in list(self._children):
            child.end(GUARD_LIMIT_S)
            self.release(child)
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()

    def _tell(self) -> None:
        if self._shell.stdin is not None and self._shell.poll() is None:
            self._shell.stdin.write(" ".join(str(child.pid) for child in self._children).encode() + b"\n")
            self._shell.stdin.flush()
