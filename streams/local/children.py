"""``Child`` and ``Guard``: child processes of ``ecounters run`` and the tests, which end when their parent dies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streams.local.data_lock import PRIVATE_DIR, PRIVATE_FILE

GUARD_LIMIT_S: Final = 10
"""When a guard ends a child: how long the child may take after SIGTERM before it is killed."""
LINES_SHOWN: Final = 10
"""``Child.last_lines`` returns at most so many lines."""
TAIL_BYTES: Final = 16_384
"""``Child.last_lines`` reads at most so many bytes of the log."""
_NOISE: Final = "weak version"
"""Words of a harmless message of the dynamic loader: libc is older than the one that a binary was built with."""

# A shell script. It reads lines of pids until its input ends. Then it ends the processes of the last line, in order.
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
    """A child process, started by the constructor. Its stdout and stderr go to the file ``log``, which is emptied.

    Only this process's user can use ``log``, and the files and directories that the child makes, whatever the umask.
    The child is in a session of its own. So Ctrl-C on the terminal reaches the parent alone, which can then end its
    children in order. ``env``: its environment; None: that of this process. ``inherited_fds``: file descriptors that
    stay open in the child.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(PRIVATE_DIR, parents=True, exist_ok=True)
        with log.open("wb") as output:
            os.fchmod(output.fileno(), PRIVATE_FILE)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=inherited_fds,
                start_new_session=True,
                umask=0o077,
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal (-9 for SIGKILL); None while the child runs."""
        return self._process.poll()

    def last_lines(self) -> list[str]:
        """The last LINES_SHOWN lines of the child's output, without empty ones and those with _NOISE.

        Raises OSError if the log file is gone.
        """
        with self.log.open("rb") as output:
            output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip() and _NOISE not in line][-LINES_SHOWN:]

    def end(self, limit_s: float) -> int:
        """Send SIGTERM, and SIGKILL if the child has not ended after ``limit_s``. Blocks; returns the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Send SIGKILL, wait for the end, and return the exit code."""
        self._process.kill()
        return self._process.wait()


class Guard:
    """Ends the watched children when this process dies, even by SIGKILL, a crash or the OOM killer.

    A guard is a small shell at the reading end of a pipe. Only this process has the writing end, because Python closes
    it in children. So the shell sees the end of the pipe when this process dies, on Linux and on macOS. It then ends
    the children, the last one watched first: SIGTERM, and SIGKILL after GUARD_LIMIT_S.

    A child stays behind if the guard's shell is killed too, or if this process dies before ``watch``. Children of
    children are not ended. As a context manager, the guard ends the watched children when the block ends.
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
        """Add a child to those that are ended when this process dies."""
        self._children.insert(0, child)
        self._send_pids()

    def release(self, child: Child) -> None:
        """Forget a child that has ended: another process may get its pid. The child must be watched."""
        self._children.remove(child)
        self._send_pids()

    def close(self) -> None:
        """End the children that are still watched, the last one watched first, then the shell. Blocks."""
        for child in list(self._children):
            child.end(GUARD_LIMIT_S)
            self.release(child)
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()

    def _send_pids(self) -> None:
        """Send the pids of all watched children to the shell, as one line. The shell uses only the last line."""
        if self._shell.stdin is not None and self._shell.poll() is None:
            self._shell.stdin.write(" ".join(str(child.pid) for child in self._children).encode() + b"\n")
            self._shell.stdin.flush()
