"""Lines that say how far something is: on a terminal written over, in a file now and then a new one."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from typing import Final, TextIO

PROGRESS_TTY_S: Final = 0.5
PROGRESS_LOG_S: Final = 10.0
"""A terminal's line is written over; a file gets a new one each time."""
LOG_S: Final = 10.0


class Line:
    """The last line of the output: on a terminal it is written over, elsewhere it is a new one now and then.

    That nobody reads it (a closed terminal, a pipe into `head`) is no reason to end.
    """

    def __init__(self, to: TextIO | None = None) -> None:
        self._to = to if to is not None else sys.stdout
        self._tty = self._to.isatty()
        self._open = False
        self._next = 0.0

    def show(self, text: str, *, now: bool = False) -> None:
        """Show a line in place of the one shown. ``now``: also where there is no terminal, even if one just was."""
        if self._tty:
            self._write("\r" + text[: shutil.get_terminal_size().columns - 1] + "\x1b[K")
            self._open = True
        elif now or time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_S
            self._write(text + "\n")

    def say(self, text: str) -> None:
        """Print something that stays, in place of the line shown."""
        self._write(("\r\x1b[K" if self._open else "") + text + "\n")
        self._open = False

    def end(self) -> None:
        """Let the line shown stay as it is."""
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._to.write(text)
            self._to.flush()


class Progress:
    """A line on stderr that says how far a command is. ``verb``: "published"; ``what``: of these."""

    def __init__(self, verb: str, to: TextIO | None = None, what: str = "events") -> None:
        self._to = to if to is not None else sys.stderr
        self._tty = self._to.isatty()
        self._verb = verb
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
        self.count = 0

    def add(self, count: int) -> None:
        """So many more; says so now and then."""
        self.count += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (PROGRESS_TTY_S if self._tty else PROGRESS_LOG_S)
            self._to.write(self._line(now) + ("\r" if self._tty else "\n"))
            self._to.flush()

    def end(self) -> None:
        """The last line."""
        self._to.write(self._line(time.monotonic()) + "\n")
        self._to.flush()

    def _line(self, now: float) -> str:
        seconds = max(now - self._began, 1e-3)
        return f"{self._verb} {self.count:,} {self._what} in {seconds:,.1f} s, {self.count / seconds:,.0f}/s"
