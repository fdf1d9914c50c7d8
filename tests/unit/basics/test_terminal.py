"""The last line of the output, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from streams.basics.terminal import Line


class Terminal(io.StringIO):
    """A terminal, as far as a line can tell."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_line_is_written_over_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut to its width; what stays is printed in its place."""
    monkeypatch.setenv("COLUMNS", "6")
    terminal = Terminal()
    line = Line(terminal)
    line.show("one")
    line.show("two and more")
    line.say("stays")
    line.end()
    assert terminal.getvalue() == "\rone\x1b[K\rtwo a\x1b[K\r\x1b[Kstays\n"


def test_a_line_is_rare_elsewhere() -> None:
    """In a file it is one line in ten seconds, unless it matters now."""
    file = io.StringIO()
    line = Line(file)
    for text in ("one", "two"):
        line.show(text)
    line.show("three", now=True)
    assert file.getvalue() == "one\nthree\n"
