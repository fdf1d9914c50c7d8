"""The rounds of `make faults` that hurt what workers depend on: brokers, disks, network, Redis, log and clocks."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator
from typing import Final

from ecounters.simulator.world import Published
from tests.faults.kill_at_step import launcher_with_clock
from tests.faults.testbed import READY_S, USERS, Testbed
from tests.faults.worker_rounds import ROUNDS, register_round
from tests.support.accounts import TOKEN
from tests.support.builders import encoded, event
from tests.support.kafka_cluster import Cluster
from tests.support.workers import Worker

__all__ = ["ROUNDS"]

NODES: Final = (1, 2, 3)
AWAY_S: Final = 60
HOUR_S: Final = 3_600
MINUTE_MS: Final = 60_000


def in_sync(testbed: Testbed) -> None:
    """Wait until every copy is in sync: only then one broker may be lost."""
    testbed.cluster.wait_in_sync(READY_S)


# --------------------------------------------------------------------------------------------- brokers


@register_round("broker", "kill -9 of one broker of three, and its restart", 9)
def broker(testbed: Testbed, times: int) -> None:
    """One broker is killed: leaders, group coordinator and transaction coordinators move to the others."""
    for _ in range(2):
        testbed.start_worker()
    for at in range(times):
        node = NODES[at % 3]
        testbed.pause(0.0, 2.0)
        testbed.cluster.kill(node)
        testbed.tally["broker kills"] += 1
        testbed.pause(1.0, 8.0)
        testbed.cluster.restart(node)
        in_sync(testbed)


@register_round("broker-kill", "the same, and SIGKILL of a worker while it is away", 6)
def broker_and_worker(testbed: Testbed, times: int) -> None:
    """A worker is killed while a broker is away: its successor restores while leaders move."""
    for _ in range(2):
        testbed.start_worker()
    for _ in range(times):
        testbed.wait_settled()
        node = testbed.chance.choice(NODES)
        testbed.cluster.kill(node)
        testbed.tally["broker kills"] += 1
        testbed.pause(0.0, 4.0)
        testbed.replace(testbed.chance.choice(testbed.workers))
        testbed.pause(0.0, 4.0)
        testbed.cluster.restart(node)
        in_sync(testbed)


@register_round("brokers", "kill -9 of all three brokers at once, and their restart", 3)
def brokers(testbed: Testbed, times: int) -> None:
    """All brokers are killed at once, amid whatever was being written."""
    for _ in range(2):
        testbed.start_worker()
    for at in range(times):
        testbed.wait_settled()
        testbed.pause(0.0, 2.0)
        for node in NODES:
            testbed.cluster.kill(node)
            testbed.tally["broker kills"] += 1
        testbed.pause(0.0, 10.0)
        if at % 2:
            testbed.replace(testbed.workers[0])
        testbed.cluster.restart(*NODES)
        in_sync(testbed)


@register_round("unreachable", f"no broker answers for {AWAY_S} s (SIGSTOP of all three), then all go on", 1)
def unreachable(testbed: Testbed, times: int) -> None:
    """All brokers hang for a minute: every timeout passes, and then the old requests are answered."""
    for _ in range(2):
        testbed.start_worker()
    for _ in range(times):
        testbed.wait_settled()
        for node in NODES:
            testbed.cluster.pause(node)
        time.sleep(AWAY_S)
        for worker in testbed.workers:
            assert worker.request("GET", "/healthz").status == 200
            assert worker.why_not_settled()
            assert worker.why_not_ready() == ""
        for node in NODES:
            testbed.cluster.resume(node)
        testbed.tally["outages"] += 1
        testbed.cluster.wait(READY_S)
        in_sync(testbed)


@register_round(
    "cut-off", f"one worker of two loses its network for {AWAY_S} s, hanging or cut, while the brokers go on", 2
)
def cut_off(testbed: Testbed, times: int) -> None:
    """One worker loses its network. It replies that it is incomplete, and may not write when the network is back."""
    far, near = testbed.start_worker(named=False, far=True), testbed.start_worker(named=False)
    for at in range(times):
        testbed.wait_settled()
        testbed.pause(0.0, 1.0)
        if at % 2:
            testbed.network.cut()
        else:
            testbed.network.hang()
        time.sleep(AWAY_S)
        testbed.tally["cuts"] += 1
        testbed.wait_settled(far)
        assert far.request("GET", "/healthz").status == 200
        assert far.why_not_settled()
        replies = far.ask({"userId": "u1", "token": TOKEN}), near.ask({"userId": "u1", "token": TOKEN})
        assert replies[1].headers["X-Ecounters-Complete"] == "true", replies
        if replies[0].status == 200 and replies[0].headers["X-Ecounters-Complete"] == "true":
            assert far.metric("ecounters_hops_total") > 0, (
                replies
            )  # it forwarded the request to the other worker, which it can reach
        testbed.network.resume()


@register_round("disk", "a broker's disk is full (no file of it may grow), then there is room again", 3)
def disk(testbed: Testbed, times: int) -> None:
    """No file of a broker may grow: it halts. Every third time this happens to all brokers."""
    for _ in range(2):
        testbed.start_worker()
    for at in range(times):
        testbed.wait_settled()
        full = NODES if at % 3 == 2 else (NODES[at % 3],)
        for node in full:
            fill(testbed.cluster, node)
        deadline = time.monotonic() + READY_S
        while any(testbed.cluster.nodes[node].complaint() is None for node in full):
            assert time.monotonic() < deadline, f"brokers {full} go on without a disk"
            time.sleep(0.2)
        testbed.tally["full disks"] += len(full)
        testbed.pause(0.0, 5.0)
        testbed.cluster.restart(*full)
        in_sync(testbed)


def fill(cluster: Cluster, node: int) -> None:
    """Let all writes of a node to files fail from now on. Its next process may write again."""
    _, most = resource.prlimit(cluster.nodes[node].pid, resource.RLIMIT_FSIZE)
    resource.prlimit(cluster.nodes[node].pid, resource.RLIMIT_FSIZE, (0, most))


# ------------------------------------------------------------------------------------------------ Redis


@register_round("redis", "kill -9 of Redis, and its restart", 5)
def redis(testbed: Testbed, times: int) -> None:
    """Redis is killed: counting goes on, a cached user gets replies, and everybody does when Redis is back."""
    for _ in range(2):
        testbed.start_worker()
    for _ in range(times):
        testbed.wait_settled()
        known = {"userId": "u1", "token": TOKEN}
        for worker in testbed.workers:
            worker.ask(known)
        time.sleep(1.5)  # Redis writes to disk once a second
        testbed.store.kill()
        testbed.tally["Redis kills"] += 1
        testbed.pause(0.0, 5.0)
        codes = {worker.ask({"userId": "u2", "token": TOKEN}).status for worker in testbed.workers}
        assert codes == {503}, codes
        assert_one_replies(testbed.workers, known)
        testbed.store.restart()


def assert_one_replies(workers: list[Worker], body: dict[str, str]) -> None:
    """Assert that at least one worker replies with counters: the one that owns the user's partition."""
    replies = [worker.ask(body) for worker in workers]
    assert any(reply.status == 200 for reply in replies), replies


# -------------------------------------------------------------------------------------- the log, and clocks


@register_round("redelivery", "the last 10 minutes of the log come again, shuffled", 5)
def redelivery(testbed: Testbed, times: int) -> None:
    """Events arrive again, out of order. Every second time a worker is killed amid them."""
    for _ in range(2):
        testbed.start_worker()
    for at in range(times):
        testbed.wait_settled()
        testbed.pause(2.0, 5.0)
        again = testbed.last_minutes(10)
        testbed.chance.shuffle(again)
        testbed.tally["events again"] += len(again)
        testbed.publish(again)
        if at % 2:
            testbed.replace(testbed.workers[0])


@register_round("events-ahead", "events of up to a day ahead of the clock, amid the others", 5)
def events_ahead(testbed: Testbed, times: int) -> None:
    """Events of the future become one dead letter each and make no other event late. Some kills amid them."""
    testbed.start_worker()
    for at in range(times):
        testbed.wait_settled()
        testbed.publish(list(ahead_of_time(testbed.chance, 200)))
        testbed.tally["events ahead"] += 200
        if at % 2:
            testbed.replace(testbed.workers[0])


def ahead_of_time(
    chance: random.Random, events: int, of: tuple[int, int] = (6 * MINUTE_MS, 24 * 60 * MINUTE_MS)
) -> Iterator[Published]:
    """Calls that start between ``of[0]`` and ``of[1]`` ms from now."""
    now = int(time.time() * 1000)
    for n in range(events):
        user, ts = f"u{n % USERS + 1}", now + chance.randint(*of)
        made = event("call.started", 0, user, ts=ts, callId=f"ahead-{n}-{ts}", callType="IBD")
        yield Published(now, user, encoded(made))


@register_round("clock", "a worker's own clock is 5 hours ahead, then right again", 3)
def clock(testbed: Testbed, times: int) -> None:
    """By the wrong clock all live calls are silent for longer than a call may last; nothing of that may stay."""
    testbed.start_worker()
    for _ in range(times):
        testbed.replace(testbed.workers[0], launcher_with_clock(5 * HOUR_S)).wait_ready(READY_S)
        testbed.pause(4.0, 8.0)
        testbed.tally["wrong clocks"] += 1
        testbed.replace(testbed.workers[0]).wait_ready(READY_S)
        testbed.pause(2.0, 4.0)
