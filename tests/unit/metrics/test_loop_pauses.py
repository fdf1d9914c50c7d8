"""LoopPauses: for how long the loop runs what is ready before it looks again, and how late it wakes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

from streams.metrics.loop_pauses import LoopPauses

BUSY_S = 0.2
SHORT_S = 0.05
SUSPENDED = """
import asyncio
from streams.metrics.loop_pauses import LoopPauses
pauses = LoopPauses()
async def run():
    pauses.take()
    print("waits", flush=True)
    await asyncio.sleep(0.3)
    print(pauses.take())
asyncio.Runner(loop_factory=pauses.new_loop).run(run())
"""


def test_the_longest_pause_since_the_last_look_is_told() -> None:
    """One that is over, and one that is looked at from within; each once."""
    pauses = LoopPauses()

    async def run() -> list[float]:
        await asyncio.sleep(0)
        pauses.take()
        time.sleep(BUSY_S)  # noqa: ASYNC251 - this is the pause
        await asyncio.sleep(SHORT_S)
        seen = [pauses.take(), pauses.take()]
        time.sleep(BUSY_S)  # noqa: ASYNC251
        seen += [pauses.take()]
        await asyncio.sleep(SHORT_S)
        return [*seen, pauses.take()]

    assert pauses.take() == 0
    with asyncio.Runner(loop_factory=pauses.new_loop) as runner:
        over, nothing, within, rest = runner.run(run())
    assert over >= BUSY_S > nothing
    assert within >= BUSY_S > rest


def test_a_loop_that_does_not_get_the_processor_has_paused() -> None:
    """Its process is stopped while it waits, until after its timer is due."""
    with subprocess.Popen([sys.executable, "-c", SUSPENDED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(process.pid, signal.SIGCONT)
        assert float(process.stdout.readline()) > 0.3
