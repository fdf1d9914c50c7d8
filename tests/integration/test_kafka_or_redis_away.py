"""Replies and counting while Kafka or Redis is away, and while no events come."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streams.local.children import Guard
from streams.local.embedded import Embedded
from streams.web.paths import METRICS_PATH, READY_PATH
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.builders import encoded
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.workers import Deployment, Reply, Worker

LIMIT_S = 30.0
U1 = {"userId": "u1", "token": TOKEN}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    """A broker and store of the test's own, which it may stop or kill."""
    with Guard() as guard:
        one = Embedded.start(tmp_path / "own")
        guard.watch(one.child)
        yield one
        one.kill()  # SIGKILL ends a stopped process as well
        guard.release(one.child)


def until(ask: Callable[[], Reply], wanted: Callable[[Reply], bool]) -> Reply:
    """Ask until a reply is as wanted, and return it. AssertionError after 30 s."""
    deadline = time.monotonic() + LIMIT_S
    while not wanted(reply := ask()):
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    return reply


def test_while_kafka_hangs_replies_go_on_and_say_that_they_are_incomplete(
    deployment: Deployment, server: Embedded
) -> None:
    """While the broker hangs replies have the counts so far and their age; afterwards all missed events are counted."""
    here = replace(deployment, broker=server.broker).with_settings(STALE_AFTER_MS=1_000)
    here.create_topics()
    add_users(here, ["u1"])
    with Worker(here).wait_ready() as worker:
        publish_values(here, "u1", *RecentCall("c1", "u1").started(0).values())
        whole = wait_for_counter(worker, "u1", "TC", 1)
        assert whole.headers["X-Ecounters-Complete"] == "true"
        os.kill(server.child.pid, signal.SIGSTOP)
        stale = until(lambda: worker.ask(U1), lambda reply: reply.headers["X-Ecounters-Complete"] == "false")
        assert b"\necounters_incomplete_replies_total 1.0\n" in worker.request("GET", METRICS_PATH).body
        assert (stale.status, stale.body) == (200, whole.body)
        until(lambda: worker.ask(U1), lambda reply: int(reply.headers["X-Ecounters-Lag-Ms"]) > 1_500)
        ready = worker.request("GET", READY_PATH)
        assert (ready.status, ready.json["silent"]) == (200, True)
        assert worker.request("GET", "/healthz").status == 200
        os.kill(server.child.pid, signal.SIGCONT)
        publish_values(here, "u1", *RecentCall("c2", "u1").started(0).values())
        wait_for_counter(worker, "u1", "TC", 2)
        until(lambda: worker.ask(U1), lambda reply: reply.headers["X-Ecounters-Complete"] == "true")
        worker.wait_ready()


def test_while_redis_is_dead_known_sessions_and_counting_go_on(deployment: Deployment, server: Embedded) -> None:
    """Sessions checked before the kill stay valid for the cache's time, others get 1010, and counting goes on."""
    here = replace(deployment, redis_url=server.redis_url).with_settings(SESSION_CACHE_S=4)
    add_users(here, ["u1"])
    session = {"ssid": open_session(here)}
    time.sleep(1.5)  # Redis writes to disk once a second; a kill loses the rest
    with Worker(here).wait_ready() as worker:
        assert worker.ask(session).status == 200
        assert worker.metric("ecounters_redis_errors_total") == 0
        known_s = time.monotonic()
        server.kill()
        publish_values(here, "u1", *RecentCall("c1", "u1").started(0).values())
        until(lambda: worker.ask(session), lambda reply: reply.status == 200 and reply.json["message"]["TC"] == 1)
        refused = worker.ask(U1)
        assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (503, 1010, "1")
        assert worker.metric("ecounters_redis_errors_total") >= 1
        assert worker.why_not_ready() == ""
        until(lambda: worker.ask(session), lambda reply: reply.status == 503)
        assert time.monotonic() - known_s > 3.5
        again = Embedded.start(server.child.log.with_suffix(""), server.kafka_port, server.redis_port)
        try:
            for body in (session, U1):
                reply = until(lambda body=body: worker.ask(body), lambda reply: reply.status == 200)  # type: ignore[misc]
                assert reply.json["message"]["TC"] == 1
        finally:
            again.kill()


def test_a_silent_call_is_ended_by_the_clock_and_corrected_by_later_events(deployment: Deployment) -> None:
    """Silent calls are reaped by the clock, live again when heard of, and end at once by restart and snapshot."""
    here = deployment.with_settings(MAX_CALL_MS=60_000, SUSPECT_AFTER_MS=58_000)
    add_users(here, ["u1"])
    # Quiet since 55 s when the log ends: suspected 3 s after that, ended after 5.
    lost, other = (
        RecentCall("lost", "u1").started(0, "IBD"),
        RecentCall("other", "u1").started(55, "OBD", switchId="s1"),
    )
    shift = int(time.time() * 1000) - 56_000 - lost.events[0]["ts"]
    for one in (lost, other):
        one.events = [{**event, "ts": event["ts"] + shift} for event in one.events]
    worker = Worker(here).wait_ready()
    publish_values(here, "u1", *(encoded(event) for event in lost.events + other.events))
    wait_for_counter(worker, "u1", "LCT", {"IBD": 1, "OBD": 1})
    until(lambda: worker.ask(U1), lambda reply: reply.headers["X-Ecounters-Suspected"] == "1")
    assert wait_for_counter(worker, "u1", "CST", {"-1": 1}).json["message"]["LCT"] == {"OBD": 1}
    worker.kill()
    worker = Worker(here, replaces=worker).wait_ready()
    wait_for_counter(worker, "u1", "CST", {"-1": 1})
    now = int(time.time() * 1000)
    said = {"userId": "u1", "switchId": "s1", "ts": now}
    publish_values(here, "u1", encoded({**lost.events[0], "type": "call.heartbeat", "id": "beat", "ts": now}))
    assert wait_for_counter(worker, "u1", "LCT", {"IBD": 1, "OBD": 1}).json["message"]["CST"] == {}
    publish_values(here, "u1", encoded({**said, "type": "switch.snapshot", "id": "count", "callIds": []}))
    wait_for_counter(worker, "u1", "CST", {"-3": 1})
    restarted = RecentCall("third", "u1").started(0, "QC", switchId="s1").events[0] | {"ts": now, "id": "third"}
    publish_values(here, "u1", encoded(restarted))
    wait_for_counter(worker, "u1", "LCT", {"IBD": 1, "QC": 1})
    publish_values(here, "u1", encoded({**said, "type": "switch.restarted", "id": "boot", "ts": now + 1}))
    wait_for_counter(worker, "u1", "CST", {"-3": 1, "-2": 1})
    end = {**lost.events[0], "type": "call.ended", "status": 16, "id": "end", "ts": now + 2}
    publish_values(here, "u1", encoded(end))
    assert wait_for_counter(worker, "u1", "CST", {"-3": 1, "-2": 1, "16": 1}).json["message"]["LCT"] == {}
    worker.kill()
