"""The promise: whatever happens to the workers, the counters are those of a recount of the log."""

from __future__ import annotations

import random
import time

from ecounters.counters.definitions import FIELDS, PAYLOAD
from ecounters.recount.recount import Recount
from ecounters.simulator.world import Plan
from tests.support.log_publisher import Feed, made_up, yesterday_ms
from tests.support.recount_check import add_users, dead_letters, differences, refused, settled_recounts
from tests.support.workers import Deployment, Worker

DAY_MS = 86_400_000
USERS = 12
KEYS = len(PAYLOAD) + len(FIELDS - {"TC", "MC"})


def plan(seed: int) -> Plan:
    """About ten events a second of log time, so that calls are reaped and switches restart in a log of hours."""
    return Plan(yesterday_ms(), seed=seed, users=USERS, rate_per_s=1.2, chaos=True)


def check(deployment: Deployment, workers: list[Worker]) -> list[Recount]:
    """Every counter of every user, and every dead letter, is the recount's; which is given back."""
    counted = settled_recounts(deployment)
    begin = yesterday_ms()
    compared, wrong = differences(workers, counted, begin, begin + DAY_MS)
    assert not wrong, "\n".join([*wrong[:50], *(worker.last_words() for worker in workers)])
    assert compared == USERS * KEYS
    assert dead_letters(deployment) == refused(deployment, counted)
    return counted


def test_a_log_of_200_000_events_gives_exactly_the_recount(deployment: Deployment) -> None:
    """With chaos, and with messages on the wrong partitions; for every user, every key and every field."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    messages = made_up(plan(seed=1), 200_000)
    with Worker(deployment).wait_ready() as worker:
        Feed(deployment, messages, rate=0, misroute_every=500).wait()
        misrouted = sum(len(recount.misrouted) for recount in check(deployment, [worker]))
        assert worker.metric("ecounters_events_misrouted_total") == misrouted > 300


def test_kills_joins_and_leaves_change_nothing(deployment: Deployment) -> None:
    """20 times SIGKILL at random moments of the replay, while a second worker joins and leaves 5 times."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    messages = made_up(plan(seed=2), 200_000)
    chance = random.Random(2)
    feed = Feed(deployment, messages, rate=2_500, misroute_every=1_000)
    second: Worker | None = None
    worker = Worker(deployment)
    for kill in range(20):
        if chance.random() < 0.7:  # else it is killed while it starts or restores
            worker.wait_ready()
        time.sleep(chance.uniform(0.0, 1.5))  # the moment is what is random, nothing is waited for
        worker.kill()
        worker = Worker(deployment, again=worker)
        if kill % 4 == 0:
            second = Worker(deployment).wait_ready()
        elif kill % 4 == 2 and second is not None:
            second.end()
    feed.wait()
    worker.wait_ready()
    check(deployment, [worker])
