"""Shows the progress of a command: a terminal has one line that is rewritten, a file gets a new line now and then."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from typing import Final, TextIO

PROGRESS_TTY_S: Final = 0.5
PROGRESS_LOG_S: Final = 10.0
"""How often Progress writes at most: to a terminal (TTY), which rewrites its line, and to a file (LOG), which gets new
lines."""
LOG_S: Final = 10.0
"""How often Line writes to a file at most."""


class Line:
    """The status line of ``ecounters run``, at the end of its output, which is ``to`` or stdout.

    The methods suppress OSError if the output cannot be written to, such as a terminal that was closed or a pipe into
    `head`: the processes go on without a status line.
    """

    def __init__(self, to: TextIO | None = None) -> None:
        self._to = to if to is not None else sys.stdout
        self._tty = self._to.isatty()
        self._open = False
        self._next = 0.0

    def show(self, text: str, *, now: bool = False) -> None:
        """Show ``text`` as the status line. A terminal shows it at once, truncated to the terminal's width.

        To a file, a text is written only if none was for LOG_S, or with ``now``; otherwise it is dropped.
        """
        if self._tty:
            self._write("\r" + text[: shutil.get_terminal_size().columns - 1] + "\x1b[K")
            self._open = True
        elif now or time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_S
            self._write(text + "\n")

    def say(self, text: str) -> None:
        """Print a line that stays. It replaces a terminal's status line, which comes back with the next ``show``."""
        self._write(("\r\x1b[K" if self._open else "") + text + "\n")
        self._open = False

    def end(self) -> None:
        """On a terminal: leave the status line as it is, and begin a new line below it."""
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._to.write(text)
            self._to.flush()


class Progress:
    """Writes how much a command has done to stderr, such as "published 12,000 events in 3.1 s, 3,871/s".

    ``verb`` and ``what`` are words of that line, here "published" and "events". ``to`` is written to instead of stderr.
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
        """Add to the count. Writes a line if the last one is PROGRESS_TTY_S ago, or in a file PROGRESS_LOG_S."""
        self.count += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
            self._to.write(self._line(now) + ("\r" if self._tty else "\n"))
            self._to.flush()

    def end(self) -> None:
        """Write the last line, with the whole count and time."""
        self._to.write(self._line(time.monotonic()) + "\n")
        self._to.flush()

    def _line(self, now: float) -> str:
        seconds = max(now - self._began, 1e-3)
        return f"{self._verb} {self.count:,} {self._what} in {seconds:,.1f} s, {self.count / seconds:,.0f}/s"
