"""``RunOptions``: what the command line passes to ``ecounters run``."""

from __future__ import annotations

from dataclasses import dataclass

from streams.settings.table import Settings


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The settings of the process and the options of ``ecounters run``.

    ``simulate``: publish simulated calls. ``broker_port``: TCP port of the embedded broker; 0 stands for any free port.
    """

    settings: Settings
    simulate: bool = True
    broker_port: int = 0
