"""LoopPauses: how late a timer fires, which is for how long the loop was busy."""

from __future__ import annotations

import asyncio
import time

from streams.metrics.loop_pauses import INTERVAL_S, LoopPauses

BUSY_S = 0.2


def test_the_longest_pause_since_the_last_look_is_told() -> None:
    """One that is over, and one that is looked at from within; each once."""

    async def run() -> list[float]:
        pauses = LoopPauses()
        pauses.start()
        await asyncio.sleep(2 * INTERVAL_S)
        time.sleep(BUSY_S)  # noqa: ASYNC251 - this is the pause
        await asyncio.sleep(4 * INTERVAL_S)
        seen = [pauses.take(), pauses.take()]
        time.sleep(BUSY_S)  # noqa: ASYNC251
        seen += [pauses.take()]
        pauses.stop()
        time.sleep(BUSY_S)  # noqa: ASYNC251
        await asyncio.sleep(2 * INTERVAL_S)
        return [*seen, pauses.take()]

    over, nothing, within, stopped = asyncio.run(run())
    assert over >= BUSY_S - INTERVAL_S > nothing
    assert within >= BUSY_S - INTERVAL_S
    assert stopped == 0
