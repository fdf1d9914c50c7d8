"""``python -m tests.moves --only kills``: workers with standbys are killed, others join, while questions are asked.

Not of ``make moves``: what was on its way to a killed worker gets no answer, and a machine on which the workers do not
get the processor time for 20 questions a second has 503.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from streams.kafka.publisher import publisher
from streams.local.embedded import Embedded
from tests.support.accounts import add_users
from tests.support.audits import audited
from tests.support.builders import encoded
from tests.support.moves import Asker, Calls, users_of
from tests.support.standbys import wait_followed
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

LIVE: Final = 50_000
"""Live calls of each partition."""
JOINS_S: Final = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1.0, 3.5, 4.5, 5.5)
"""When the next worker is started, after each kill. Some join before Kafka has noticed the kill, and some then."""
SESSION_S: Final = 10
LIMIT_S: Final = 240.0


def play_kills(broker: str) -> list[str]:
    """Kill the oldest of three workers again and again, each time when all is settled. Returns what was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="ecounters-kills-"))
    with ExitStack() as stack:
        store = Embedded.start(folder / "store")
        stack.callback(store.kill)
        here = Deployment(broker, store.redis_url, folder).with_settings(STANDBYS=1, SESSION_TIMEOUT_S=SESSION_S)
        stack.callback(here.end_all)
        here.create_topics()
        users = users_of(here.partitions)
        add_users(here, users)
        asyncio.run(_publish_live(here, users))
        workers = [Worker(here) for _ in range(3)]
        _wait_settled(workers)
        wait_until_flushed(here, LIMIT_S)
        asker = Asker(users, *(worker.port for worker in workers))
        calls = Calls(here, users)

        def kill_in_turn() -> None:
            for pause_s in JOINS_S:
                _wait_settled(workers)
                asker.ports = [worker.port for worker in workers[1:]]
                workers.pop(0).kill()
                time.sleep(pause_s)
                workers.append(Worker(here))
            _wait_settled(workers)

        answers = asker.ask_while(kill_in_turn)
        calls.stop()
        print(f"kills: {len(JOINS_S)} kills; {answers}; load {os.getloadavg()[0]:.1f}", flush=True)
        for one in [answers.slowest, *answers.failed[:20]]:
            print("   ", *one)
        code, lines, errors = audited(here, *workers)
        print("   ", *lines[-1:], flush=True)
        wrong = [f"{answers.statuses['503']} got 503"] if answers.statuses["503"] else []
        return [*wrong, f"the audit differs: {lines[:5]} {errors}"] if code else wrong


def _wait_settled(workers: Sequence[Worker]) -> None:
    """Wait until all are ready, and each partition has a standby."""
    for worker in workers:
        worker.wait_ready(LIMIT_S)
    wait_followed(workers, workers[0].deployment.partitions, LIMIT_S)


async def _publish_live(here: Deployment, users: Sequence[str]) -> None:
    """Publish the starts of LIVE calls to each partition. ``users``: one for each partition, in order."""
    now_ms = int(time.time() * 1000)
    async with publisher(here.kafka, here.name) as publishing:
        for at in range(LIVE):
            for partition, user in enumerate(users):
                call = {"userId": user, "callId": f"live{at}", "callType": "IBD"}
                value = encoded({"type": "call.started", "id": f"live{at}", "ts": now_ms, **call})
                await publishing.put_to(partition, user.encode(), value)
