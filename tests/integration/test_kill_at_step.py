"""Faults at chosen steps of a worker, and in its log; after each, the counters equal the recount.

These tests run on any broker, each fault once. The long run on a cluster is `make faults`.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from itertools import islice
from threading import Thread

import pytest

from ecounters.simulator.world import simulate
from streams.web.paths import METRICS_PATH, READY_PATH
from tests.faults.environment_rounds import HOUR_S, ahead_of_time
from tests.faults.kill_at_step import launcher_at, launcher_with_clock
from tests.support.accounts import add_users
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, first_messages
from tests.support.recount_check import assert_recounted, dead_letters, differences, settled_recounts
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

EVENTS = 20_000
RATE = 1_000.0
RATE_OF_KILLS = 250.0
"""It lasts as long as the kills do: on a slow machine, a higher rate makes a log that takes minutes to recount."""
KILLED_LIMIT_S = 60
FLUSHED_LIMIT_S = 20
LONG_REBALANCE_S = 24
STEPS_OF_WORK = (
    ("apply", 60), ("cut", 3), ("begin", 4), ("sent", 5), ("acked", 3), ("commit-sent", 4), ("written", 3),
    ("republish", 1), ("offset-commit", 2), ("offset-committed", 2), ("open", 2), ("read", 2),
    ("restore", 50),
)  # fmt: skip
"""(point, number of the pass) at which a worker is killed, in this order."""


def start_publisher(deployment: Deployment, seed: int) -> LogPublisher:
    """Create users, and publish a log with chaos until stopped."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    return LogPublisher(deployment, simulate(chaos_plan(seed)), RATE_OF_KILLS, misroute_every=75, users=USERS)


def successor_of_killed(worker: Worker) -> Worker:
    """Wait until the worker has killed itself at its step, and start its successor."""
    assert worker.process.wait(KILLED_LIMIT_S) == -signal.SIGKILL, worker.log_tail()
    return Worker(worker.deployment, replaces=worker)


def test_a_kill_at_any_step_of_its_work_changes_no_counter(deployment: Deployment) -> None:
    """After a kill at each step of batch, transaction, offset commit and restore, the counters equal the recount."""
    publisher = start_publisher(deployment, 21)
    worker = Worker(deployment)
    for point, nth in STEPS_OF_WORK:
        worker.kill()
        worker = successor_of_killed(Worker(deployment, replaces=worker, launcher=launcher_at(point, nth)))
    publisher.stop()
    assert_recounted(deployment, [worker.wait_ready()])


def test_a_kill_at_any_step_of_a_rebalance_changes_no_counter(deployment: Deployment) -> None:
    """After a kill at each step of a rebalance, and of an orderly end, the counters equal the recount."""
    if not os.environ.get("ECOUNTERS_TEST_BROKER"):
        pytest.skip("the embedded broker waits for members that were killed amid a rebalance, again and again")
    publisher = start_publisher(deployment, 22)
    first = Worker(deployment).wait_ready()
    for point in ("revoke", "let-go", "assigned"):
        second = Worker(deployment, launcher=launcher_at(point, 2)).wait_ready()
        with Worker(deployment) as third:
            second = successor_of_killed(second).wait_ready()
            third.wait_ready().end()
        if point == "assigned":
            second.kill()
            second = Worker(deployment, replaces=second, launcher=launcher_at("stop", 1)).wait_ready()
            second.process.send_signal(signal.SIGTERM)
            second = successor_of_killed(second).wait_ready()
        second.end()
    publisher.stop()
    assert_recounted(deployment, [first.wait_ready()])


def test_a_kill_or_a_pause_amid_a_handover_changes_no_counter(deployment: Deployment) -> None:
    """Who gives partitions up, and who takes them, is killed at each step, or sleeps: all equals the recount."""
    if not os.environ.get("ECOUNTERS_TEST_BROKER"):
        pytest.skip("the embedded broker waits for members that were killed amid a rebalance, again and again")
    publisher = start_publisher(deployment, 30)
    first = Worker(deployment).wait_ready()
    second = successor_of_killed(Worker(deployment, launcher=launcher_at("announce", 1))).wait_ready()
    second.kill()
    second = Worker(deployment, replaces=second, launcher=launcher_at("keep", 1)).wait_ready()
    second.process.send_signal(signal.SIGTERM)
    successor_of_killed(second).wait_ready().end()
    first.kill()
    first = Worker(deployment, replaces=first, launcher=launcher_at("taken", 1)).wait_ready()
    with Worker(deployment) as second:
        first = successor_of_killed(first).wait_ready()
        second.wait_ready().end()
    first.kill()
    first = Worker(deployment, replaces=first, launcher=launcher_at("keep", 1, how="STOP")).wait_ready()
    second = Worker(deployment)
    assert first.wait_stopped()
    time.sleep(1)  # the other one restores meanwhile, and tells nobody
    first.process.send_signal(signal.SIGCONT)
    publisher.stop()
    assert_recounted(deployment, [first.wait_ready(), second.wait_ready()])


@pytest.mark.parametrize("point", ["revoke", "let-go"])
def test_a_worker_that_is_told_to_stop_amid_a_rebalance_leaves_in_order(deployment: Deployment, point: str) -> None:
    """SIGTERM at the begin of a revoke, or after its flush: the worker exits with 0 and without an error."""
    publisher = start_publisher(deployment, 28)
    leaving = Worker(deployment, launcher=launcher_at(point, 2, how="TERM")).wait_ready()
    with Worker(deployment) as staying:
        leaving.wait_ended_in_order()
        publisher.stop()
        assert_recounted(deployment, [staying.wait_ready()])


def test_a_worker_that_is_told_to_stop_in_a_long_rebalance_leaves_in_order(deployment: Deployment) -> None:
    """A rebalance waits for a member that sleeps; a worker that is told to stop meanwhile waits for neither."""
    if not os.environ.get("ECOUNTERS_TEST_BROKER"):
        pytest.skip("the embedded broker waits for members that sleep for ever")
    publisher = start_publisher(deployment, 29)
    here = deployment.with_settings(SESSION_TIMEOUT_S=LONG_REBALANCE_S)
    leaving, sleeping = (Worker(here, named=False).wait_ready() for _ in range(2))
    leaving.wait_ready()
    sleeping.process.send_signal(signal.SIGSTOP)
    with Worker(here, named=False) as joining:
        deadline = time.monotonic() + KILLED_LIMIT_S
        while not leaving.request("GET", READY_PATH).json.get("rebalancing"):
            assert time.monotonic() < deadline, leaving.log_tail()
            time.sleep(0.05)
        took_s = leaving.end()
        assert took_s < LONG_REBALANCE_S / 2
        sleeping.process.send_signal(signal.SIGCONT)
        publisher.stop()
        assert_recounted(deployment, [joining.wait_ready(), sleeping.wait_ready()])


def test_redelivery_future_events_and_a_wrong_clock_change_no_counter(deployment: Deployment) -> None:
    """After shuffled redelivery, future events and a clock 5 hours ahead, the counters equal the recount."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    chance = random.Random(23)
    messages = first_messages(chaos_plan(23), EVENTS)
    half = EVENTS // 2
    worker = Worker(deployment)
    LogPublisher(deployment, messages[:half], 0).wait()
    since = messages[half].at_ms - 10 * 60_000
    again = [message for message in messages[:half] if message.at_ms >= since]
    chance.shuffle(again)
    worker.wait_ready().kill()
    worker = Worker(deployment, replaces=worker, launcher=launcher_with_clock(5 * HOUR_S)).wait_ready()
    LogPublisher(deployment, [*again, *ahead_of_time(chance, 100), *messages[half:]], RATE).wait()
    deadline = time.monotonic() + KILLED_LIMIT_S
    while worker.metric("ecounters_calls_reaped") == 0:  # by its wrong clock it reaps live calls once it is idle
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.1)
    worker.kill()
    counted = assert_recounted(deployment, [Worker(deployment, replaces=worker).wait_ready()])
    assert sum(reason == "clock_ahead" for one in counted for _, reason, _ in one.refused) >= 100


def test_a_worker_whose_clock_is_an_hour_behind_refuses_no_event(deployment: Deployment) -> None:
    """Whether an event is ahead of time is judged by the broker's clock, not by the worker's."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    worker = Worker(deployment, launcher=launcher_with_clock(-HOUR_S)).wait_ready()
    LogPublisher(deployment, ahead_of_time(random.Random(26), 50, of=(0, 4 * 60_000)), RATE).wait()
    counted = settled_recounts(deployment)
    begin = int(time.time() * 1000) - HOUR_S * 1000
    compared, wrong = differences([worker], counted, begin, begin + 2 * HOUR_S * 1000)
    assert (wrong, dead_letters(deployment), [one.refused for one in counted]) == ([], [], [[]] * deployment.partitions)
    assert compared


@pytest.mark.parametrize("point", ["sent", "commit-sent"])
def test_a_worker_that_sleeps_in_a_transaction_is_fenced(deployment: Deployment, point: str) -> None:
    """After another worker has taken over, the broker refuses what the sleeping one was about to write or commit."""
    publisher = start_publisher(deployment, 24)
    zombie = Worker(deployment, launcher=launcher_at(point, 3, how="STOP"))
    assert zombie.wait_stopped()
    worker = Worker(deployment, replaces=zombie).wait_ready()
    zombie.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + KILLED_LIMIT_S
    while "could not be flushed" not in zombie.log_tail():
        assert zombie.process.poll() is None, zombie.log_tail()
        assert time.monotonic() < deadline, zombie.log_tail()
        time.sleep(0.05)
    said = zombie.request("GET", METRICS_PATH).body.decode()
    assert re.search(r'^ecounters_flush_failures_total\{reason="fenced"\} [1-9]', said, re.MULTILINE), said
    zombie.kill()
    publisher.stop()
    assert_recounted(deployment, [worker.wait_ready()])


def test_an_event_that_arrives_in_a_rebalance_is_counted_without_another_behind_it(deployment: Deployment) -> None:
    """The last event of a partition is read after the rebalance in which it arrived, though no later event follows."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    log = simulate(chaos_plan(25))
    with Worker(deployment).wait_ready():
        for _ in range(4):
            second = Worker(deployment)
            while second.why_not_settled():
                assert second.process.poll() is None, second.log_tail()
                LogPublisher(deployment, islice(log, 8), 0).wait()
            wait_until_flushed(deployment, FLUSHED_LIMIT_S)
            leaving = Thread(target=second.end)
            leaving.start()
            while leaving.is_alive():
                LogPublisher(deployment, islice(log, 8), 0).wait()
            leaving.join()
            wait_until_flushed(deployment, FLUSHED_LIMIT_S)
