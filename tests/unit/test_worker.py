"""How a worker's life ends, as the log tells it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ecounters.errors import Unfit
from streams import worker
from streams.app import WorkerParts
from streams.basics.logs import LifeLines
from streams.basics.service_manager import ServiceManager
from streams.settings.table import Settings
from streams.web.listening import Ports


class FailingApp:
    """A Faust app whose start fails."""

    crash_reason: BaseException | None = None
    rebalancing = False

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self._crashed = asyncio.Event()
        self.stopped = False

    async def start(self) -> None:
        """Fails."""
        raise self._failure

    async def stop(self) -> None:
        """Notes it."""
        self.stopped = True


@pytest.mark.parametrize(
    ("failure", "exit_code"), [(Unfit("a topic is missing"), 2), (OSError("the port is taken"), 1), (KeyError("x"), 70)]
)
def test_a_start_that_fails_ends_with_a_line_that_says_so(
    failure: Exception, exit_code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As any other end, with the reason and the exit code, after the app was stopped."""

    async def run() -> FailingApp:
        app: Any = FailingApp(failure)
        table, streams = SimpleNamespace(joined=asyncio.Event()), SimpleNamespace(end=lambda: None)
        parts = cast(WorkerParts, SimpleNamespace(faust=app, table=table, streams=streams))
        lines = LifeLines(logging.getLogger("worker"), {"topic": "events"})
        signals = worker._Signals()
        life = worker._Life(parts, cast(Ports, None), signals, cast(Settings, None), lines, ServiceManager.of({}))
        with pytest.raises(type(failure)):
            await life.run()
        return cast(FailingApp, app)

    caplog.set_level(logging.INFO)
    assert asyncio.run(run()).stopped
    (entry,) = [entry for entry in caplog.records if entry.message.startswith("ended: topic=events")]
    assert f"exit_code={exit_code} reason={type(failure).__name__}: {failure}" in entry.message
