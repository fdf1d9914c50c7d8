"""Push over HTTP: what is sent and when, who may listen, and listeners that are slow or gone."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from streams.access.accounts import Accounts
from streams.local.children import Guard
from streams.local.embedded import Embedded
from streams.web.push import AUTHORIZE_S
from streams.web.subject import STATUS_S
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.stream_listener import STREAM, StreamListener
from tests.support.workers import Deployment, Worker


def in_store(deployment: Deployment, do: Callable[[Accounts], Coroutine[Any, Any, None]]) -> None:
    """Change something in the session store."""

    async def go() -> None:
        accounts = Accounts.connect(deployment.loaded())
        try:
            await do(accounts)
        finally:
            await accounts.close()

    asyncio.run(go())


def call(name: str, *, number: str = "1") -> list[bytes]:
    """Publish a live call of u1."""
    return RecentCall(name, "u1").started(0, "IBD", number=number).ringing(1).values()


def metric_when(worker: Worker, name: str, value: float, limit_s: float = 10) -> None:
    """Wait until a metric has that value."""
    deadline = time.monotonic() + limit_s
    while (found := worker.metric(name)) != value:
        assert time.monotonic() < deadline, (name, found)
        time.sleep(0.05)


def test_the_payload_is_pushed_at_once_and_after_each_change(deployment: Deployment, worker: Worker) -> None:
    """The data are the bytes of the POST, equal bytes have one version, and each payload has a status."""
    who, fields = {"ssid": open_session(deployment)}, ["UC", "AC"]
    for path in (STREAM, "/deepcall" + STREAM):
        with StreamListener(worker, {**who, "Field": "UC,AC"}, path=path) as listener:
            assert listener.response.status == 200
            assert listener.response.getheader("Content-Type") == "text/event-stream; charset=utf-8"
            assert listener.response.getheader("Cache-Control") == "no-store"
            assert listener.response.getheader("Access-Control-Allow-Origin") == "*"
            assert listener.response.getheader("Server") == "ecounters"
            first = listener.until()
            status = listener.until("status").json
            assert first.data.encode() == worker.ask({**who, "Field": fields}).body
            assert set(status) == {"asOf", "lagMs", "complete", "suspected", "range"} and status["complete"] is True
            publish_values(deployment, "u1", *call(f"c{path}"))
            second = listener.until()
            reply = worker.ask({**who, "Field": fields})
            assert second.data.encode() == reply.body and second.json["message"]["LCT"] != first.json["message"]["LCT"]
            assert second.version == reply.headers["ETag"][3:-1] != first.version
            assert listener.until("status").json["asOf"] == reply.headers["X-Ecounters-As-Of"]
    with StreamListener(worker, {**who, "Field": ["UC", "AC"]}) as repeated:
        assert repeated.until().data == second.data


def test_changes_are_pushed_at_most_once_a_second(deployment: Deployment, worker: Worker) -> None:
    """However fast events arrive, payloads are a second apart, and the last one has the last state."""
    who = {"ssid": open_session(deployment)}

    def feed() -> None:
        for at in range(25):
            publish_values(deployment, "u1", *call(f"c{at}", number=str(at)))
            time.sleep(0.05)

    began = time.monotonic()
    with StreamListener(worker, who) as listener, ThreadPoolExecutor() as threads:
        listener.until()
        published = threads.submit(feed)
        times = []
        calls = 0
        while calls < 25:
            sse_event = listener.until()
            times.append(sse_event.at)
            calls = sse_event.json["message"]["TC"]
        published.result()
    # One payload may be late and the next early, but there are never more than seconds have passed.
    waits = [at - began for at in times]
    assert all(wait > 0.99 * count for count, wait in enumerate(waits, 1)), waits


def test_a_listener_that_reconnects_gets_only_a_newer_version(deployment: Deployment, worker: Worker) -> None:
    """With its Last-Event-ID it gets statuses only until something changes, from a restarted worker too."""
    who = {"ssid": open_session(deployment)}
    publish_values(deployment, "u1", *call("c1"))
    with StreamListener(worker, who) as listener:
        sse_event = listener.until()
        while sse_event.json["message"]["TC"] != 1:
            sse_event = listener.until()
    worker.end()
    with Worker(deployment, worker).wait_ready() as again:
        with StreamListener(again, who, {"Last-Event-ID": sse_event.version}) as resumed:
            resumed.until("status"), resumed.until("status")
            assert [one.name for one in resumed.seen] == ["status", "status"]
            assert 0 < resumed.seen[1].at - resumed.seen[0].at < STATUS_S + 2
            publish_values(deployment, "u1", *call("c2", number="2"))
            assert resumed.until().json["message"]["TC"] == 2
        with StreamListener(again, who, {"Last-Event-ID": sse_event.version}) as older:
            assert older.until().json["message"]["TC"] == 2


def test_a_comment_is_pushed_every_15_seconds(deployment: Deployment, worker: Worker) -> None:
    """A comment line keeps a silent connection open through proxies."""
    with StreamListener(worker, {"ssid": open_session(deployment)}) as listener:
        began = listener.until().at
        assert 13 < listener.until(":").at - began < 18


@pytest.mark.parametrize(
    ("query", "status", "begins"),
    [
        ({}, 400, "UserId not provided"),
        ({"ssid": "wrong"}, 403, "Permission denied"),
        ({"ssid": "x", "x": "1"}, 400, 'Invalid parameter: unknown parameter "x"'),
        ({"userId": "u1", "token": TOKEN}, 400, "Invalid parameter: userId is not taken in a URL"),
        ({"ssid": "x", "filter": "["}, 400, "Invalid parameter: filter is not JSON"),
        ({"ssid": "x", "filter": '[],"ssid":"y"'}, 400, "Invalid parameter: filter is not JSON"),
        ({"ssid": "x", "filter": '[{"field":"date","op":"like","value":1}]'}, 400, "Invalid parameter: filter[0].op"),
        ({"ssid": ["x", "y"]}, 400, "Invalid parameter: ssid is given more than once"),
        ({"ssid": "x", "filter": ["[]", "[]"]}, 400, "Invalid parameter: filter is given more than once"),
        ({"ssid": "x", "Field": "UC,XX"}, 400, 'Invalid parameter: Field[1] "XX"'),
    ],
)  # fmt: skip
def test_a_wrong_query_gets_the_error_of_a_post(
    worker: Worker, query: dict[str, object], status: int, begins: str
) -> None:
    """A wrong query in the URL gets the documented error before the stream begins."""
    with StreamListener(worker, query) as listener:
        reply = listener.reply
        assert (reply.status, reply.json["status"]) == (status, "error")
        assert reply.json["message"].startswith(begins)
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"


def test_a_cookie_that_is_no_utf_8_is_no_session(worker: Worker) -> None:
    """A cookie of any bytes gets the error of a wrong session."""
    with StreamListener(worker, {}, {"Cookie": "ecounters=\xff\xfe"}) as listener:
        reply = listener.reply
        assert (reply.status, reply.json["code"]) == (403, 1015)


def test_a_filter_in_the_url_gives_the_bytes_of_the_post(deployment: Deployment, worker: Worker) -> None:
    """The same filter gives the same bytes by POST and by push."""
    who, dates = {"ssid": open_session(deployment)}, [{"field": "date", "value": "yesterday"}]
    publish_values(deployment, "u1", *call("c1"))
    wait_for_counter(worker, "u1", "TC", 1)  # else the call could be counted between the two replies
    with StreamListener(worker, {**who, "filter": json.dumps(dates)}) as listener:
        assert listener.until().data.encode() == worker.ask({**who, "filter": dates}).body
        assert (
            listener.until("status").json["range"] == worker.ask({**who, "filter": dates}).headers["X-Ecounters-Range"]
        )


def test_a_closed_session_ends_its_streams_alone(deployment: Deployment, worker: Worker) -> None:
    """The streams of a closed session end with the error of the next request; other sessions' streams go on."""
    closed, kept = open_session(deployment), open_session(deployment)
    with StreamListener(worker, {"ssid": closed}) as one, StreamListener(worker, {"ssid": kept}) as other:
        one.until(), other.until()
        in_store(deployment, lambda accounts: accounts.close_session(closed))
        began = time.monotonic()
        last = one.rest()[-1]
        assert (last.name, last.json["code"]) == ("end", 1015)
        assert time.monotonic() - began < AUTHORIZE_S + 4
        other.until("status")
    with StreamListener(worker, {"ssid": closed}) as again:
        assert again.reply.json == last.json


def test_a_worker_that_ends_ends_its_streams_at_once(deployment: Deployment, worker: Worker) -> None:
    """On SIGTERM the streams end in order, delay nothing, and no new one is accepted."""
    who = {"ssid": open_session(deployment)}
    with ExitStack() as all_of_them:
        listeners = [all_of_them.enter_context(StreamListener(worker, who)) for _ in range(20)]
        for one in listeners:
            one.until()
        assert worker.metric("ecounters_listeners") == 20
        worker.end()
        for one in listeners:
            assert all(sse_event.name == "status" for sse_event in one.rest())


def test_listeners_that_leave_are_forgotten(deployment: Deployment, worker: Worker) -> None:
    """A closed connection is noticed, and a subject without listeners is dropped."""
    who = {"ssid": open_session(deployment)}
    with ExitStack() as all_of_them:
        for one in [all_of_them.enter_context(StreamListener(worker, who)) for _ in range(5)]:
            one.until()
    metric_when(worker, "ecounters_listeners", 0)
    with StreamListener(worker, who) as one:
        one.until()
        publish_values(deployment, "u1", *call("c1"))
        one.until()


def test_a_listener_that_does_not_read_is_dropped_and_delays_no_other(deployment: Deployment, worker: Worker) -> None:
    """Versions are skipped for a listener that does not read; after half a minute its connection is closed."""
    publish_values(deployment, "u1", *(value for at in range(3_000) for value in _with_did(at)))
    who = {"ssid": open_session(deployment)}
    with socket.socket() as lazy, StreamListener(worker, who) as listener:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.connect(("127.0.0.1", worker.port))
        lazy.sendall(f"GET {STREAM}?{urlencode(who)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        listener.until()
        metric_when(worker, "ecounters_listeners", 2)
        deadline = time.monotonic() + 60
        for at in range(10_000):
            publish_values(deployment, "u1", *call(f"c{at}", number=str(at)))
            listener.until()
            if worker.metric("ecounters_listeners") == 1:
                break
            assert time.monotonic() < deadline, "it is still there"
        else:
            raise AssertionError("it is still there")


def _with_did(at: int) -> list[bytes]:
    """Publish a call on a DID of its own; thousands of them make a payload of many KB."""
    return RecentCall(f"d{at}", "u1").started(0, "IBD", did=f"1555{at:016}").values()


def test_http_1_0_is_served_without_chunks(deployment: Deployment, worker: Worker) -> None:
    """A client of HTTP/1.0, as nginx by default, gets the stream without chunked encoding."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as client:
        client.sendall(f"GET {STREAM}?ssid={open_session(deployment)} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        got = b""
        while b"event: status" not in got:
            got += client.recv(65_536)
        publish_values(deployment, "u1", *call("c1"))
        while got.count(b"\nid: ") < 2:
            assert select.select([client], [], [], 10)[0]
            got += client.recv(65_536)
    head, _, events = got.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower() and b"\r\n" not in events


def test_listeners_are_told_while_the_feed_stands_still(tmp_path: Path) -> None:
    """While nothing is heard of Kafka the status says incomplete, and listeners stay connected."""
    with Guard() as guard:
        server = Embedded.start(tmp_path / "store")
        guard.watch(server.child)
        deployment = Deployment(server.broker, server.redis_url, tmp_path, settings={"STALE_AFTER_MS": 500})
        deployment.create_topics()
        add_users(deployment, ["u1"])
        try:
            with (
                Worker(deployment).wait_ready() as one,
                StreamListener(one, {"ssid": open_session(deployment)}) as listener,
            ):
                listener.until("status", complete=True)
                os.kill(server.child.pid, signal.SIGSTOP)
                began = time.monotonic()
                assert listener.until("status", complete=False).at - began < 4
                os.kill(server.child.pid, signal.SIGCONT)
                listener.until("status", complete=True)
                publish_values(deployment, "u1", *call("c1"))
                assert listener.until().json["message"]["TC"] == 1
        finally:
            server.kill()
            guard.release(server.child)
