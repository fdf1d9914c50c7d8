"""What befalls a cluster while a log with chaos is replayed; after each, every counter is the recount's.

Every test publishes some 60,000 events at a pace, does its worst meanwhile, and then holds all counters of all users,
and all dead letters, against the log.
"""

from __future__ import annotations

import signal
import time

from tests.integration.test_exact import USERS, check, plan
from tests.support.audit import add_users
from tests.support.feed import Feed, made_up
from tests.support.kafka import Cluster
from tests.support.workers import Place, Worker

EVENTS = 60_000
RATE = 3_000.0
BUSY = 3
"""Promises of seconds are for a machine that has nothing else to do; these tests may not depend on that."""


def started(place: Place, seed: int) -> tuple[Feed, Worker]:
    """A worker at work, and the log that it reads."""
    add_users(place, (f"u{n + 1}" for n in range(USERS)))
    worker = Worker(place, named=False).wait_ready()
    return Feed(place, made_up(plan(seed), EVENTS), RATE, misroute_every=1_000), worker


def test_a_worker_that_was_thought_dead_spoils_nothing(place: Place) -> None:
    """Stopped for longer than its session lasts, while another takes over; then it wakes up and goes on, unaware."""
    feed, zombie = started(place, 11)
    time.sleep(2)
    zombie.process.send_signal(signal.SIGSTOP)
    second = Worker(place, named=False)
    time.sleep(9)  # the session's time, and a rebalance: the second has the partitions now
    zombie.process.send_signal(signal.SIGCONT)
    feed.wait()
    check(place, [zombie.wait_ready(), second.wait_ready()])


def test_a_worker_that_is_killed_is_replaced_within_15_s(place: Place) -> None:
    """Without a name: the group takes it for dead when its session ends, and the other has all soon after."""
    feed, first = started(place, 12)
    second = Worker(place, named=False).wait_ready()
    first.kill()
    began = time.monotonic()
    while second.metric("ecounters_partitions") < place.partitions or second.not_ready():
        assert time.monotonic() - began < 15 * BUSY, second.last_words()
        time.sleep(0.1)
    feed.wait()
    check(place, [second])


def test_a_worker_that_leaves_is_replaced_within_3_s(place: Place) -> None:
    """SIGTERM: it saves, commits, leaves and ends in under 5 s, and the other takes over at once."""
    feed, first = started(place, 13)
    second = Worker(place, named=False).wait_ready()
    assert first.end() < 5 * BUSY
    began = time.monotonic()
    while second.metric("ecounters_partitions") < place.partitions or second.not_ready():
        assert time.monotonic() - began < 3 * BUSY, second.last_words()
        time.sleep(0.05)
    feed.wait()
    check(place, [second])


def test_a_broker_is_killed_and_comes_back(place: Place, cluster: Cluster) -> None:
    """One of three at a time, each of them once."""
    feed, worker = started(place, 14)
    for node in (1, 2, 3):
        time.sleep(2)
        cluster.kill(node)
        time.sleep(3)
        cluster.restart(node)
        cluster.wait_in_sync()
    feed.wait()
    check(place, [worker.wait_ready()])


def test_all_brokers_are_killed_and_come_back(place: Place, cluster: Cluster) -> None:
    """The feed stops, the answers go on and say that they are incomplete; then everything is caught up with."""
    feed, worker = started(place, 15)
    time.sleep(2)
    for node in (1, 2, 3):
        cluster.kill(node)
    time.sleep(12)
    assert worker.request("GET", "/healthz").status == 200
    assert worker.not_ready()
    cluster.restart(1, 2, 3)
    cluster.wait_in_sync()
    feed.wait()
    check(place, [worker.wait_ready(120)])
