"""The promise "exact": whatever happens to the workers, the counters equal a recount of the log."""

from __future__ import annotations

import random
import time

from tests.support.accounts import add_users
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, first_messages
from tests.support.recount_check import assert_recounted
from tests.support.workers import Deployment, Worker


def test_20_kills_and_5_joins_change_no_counter(deployment: Deployment) -> None:
    """After 20 kills at random moments, while a second worker joins and leaves, the counters equal the recount."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    messages = first_messages(chaos_plan(seed=2), 100_000)
    chance = random.Random(2)
    feed = LogPublisher(deployment, messages, rate=1_250, misroute_every=500)
    second: Worker | None = None
    worker = Worker(deployment)
    for kill in range(20):
        if chance.random() < 0.7:  # otherwise it is killed while it starts or restores
            worker.wait_ready()
        time.sleep(chance.uniform(0.0, 1.5))  # so that the kill comes at a random moment
        worker.kill()
        worker = Worker(deployment, replaces=worker)
        if kill % 4 == 0:
            second = Worker(deployment).wait_ready()
        elif kill % 4 == 2 and second is not None:
            second.end()
    feed.wait()
    worker.wait_ready()
    assert_recounted(deployment, [worker])
