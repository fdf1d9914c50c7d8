"""Progress of a command: on a terminal one line that is rewritten in place, in a file a new line now and then."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from typing import Final, TextIO

PROGRESS_TTY_S: Final = 0.5
PROGRESS_LOG_S: Final = 10.0
"""How often Progress writes: to a terminal, which rewrites its line, and to a file, which gets a new line each time."""
LOG_S: Final = 10.0
"""How often Line writes to a file."""


class Line:
    """The status line of ``ecounters run``, at the end of its output.

    Nothing here raises if the output cannot be written to, such as a terminal that was closed or a pipe into `head`:
    the processes go on without it.
    """

    def __init__(self, to: TextIO | None = None) -> None:
        self._to = to if to is not None else sys.stdout
        self._tty = self._to.isatty()
        self._open = False
        self._next = 0.0

    def show(self, text: str, *, now: bool = False) -> None:
        """Show ``text`` as the status line. A terminal shows it at once, cut to its width.

        Elsewhere it is written at most every LOG_S, and dropped in between; ``now``: written in any case.
        """
        if self._tty:
            self._write("\r" + text[: shutil.get_terminal_size().columns - 1] + "\x1b[K")
            self._open = True
        elif now or time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_S
            self._write(text + "\n")

    def say(self, text: str) -> None:
        """Print a line that stays. It takes the place of the status line, until the next ``show``."""
        self._write(("\r\x1b[K" if self._open else "") + text + "\n")
        self._open = False

    def end(self) -> None:
        """Let the status line stay, and begin a new line behind it."""
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._to.write(text)
            self._to.flush()


class Progress:
    """Writes how much a command has done to stderr, such as "published 12,000 events in 3.1 s, 3,871/s".

    ``verb``: "published"; ``what``: the things that are counted; ``to``: in place of stderr.
    """

    def __init__(self, verb: str, to: TextIO | None = None, what: str = "events") -> None:
        self._to = to if to is not None else sys.stderr
        self._tty = self._to.isatty()
        self._verb = verb
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
        self.count = 0

    def add(self, count: int) -> None:
        """Count ``count`` more. Writes a line if PROGRESS_TTY_S or PROGRESS_LOG_S have passed since the last one."""
        self.count += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
            self._to.write(self._line(now) + ("\r" if self._tty else "\n"))
            self._to.flush()

    def end(self) -> None:
        """Write the last line, with everything that was counted."""
        self._to.write(self._line(time.monotonic()) + "\n")
        self._to.flush()

    def _line(self, now: float) -> str:
        seconds = max(now - self._began, 1e-3)
        return f"{self._verb} {self.count:,} {self._what} in {seconds:,.1f} s, {self.count / seconds:,.0f}/s"
