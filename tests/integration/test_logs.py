"""The log of real workers: who and what, which request, and never a secret or a customer's number."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ecounters.events.partitioner import partition_of
from ecounters.simulator.world import Published
from streams.local.ports import free_ports
from streams.web.paths import SERIES_PATHS, STREAM_PATHS
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.log_publisher import publish_messages
from tests.support.peers import SECRET, USERS
from tests.support.topics import wait_until_flushed
from tests.support.workers import PATH, ROOT, Deployment, Worker

NUMBER = "4915112345678"
WRONG_TOKEN = "a-wrong-token-0815"
REDIS_PASSWORD = "the-password-of-redis"
FIELDS = (
    "id",
    "type",
    "ts",
    "userId",
    "callId",
    "switchId",
    "callType",
    "campaignId",
    "did",
    "number",
    "legId",
    "retry",
)
SPELLINGS = (
    f"+{NUMBER}",
    NUMBER,
    f"00{NUMBER}",
    int(NUMBER),
    f"sip:{NUMBER}@pbx",
    [NUMBER],
    {NUMBER: 1},
    f"\ud800{NUMBER}",
)


@pytest.fixture(scope="module")
def _module_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def workers(broker: str, redis_url: str, _module_dir: Any) -> Iterator[tuple[Worker, Worker]]:
    """Two workers at DEBUG that have read ``bad_events``, one with its log as JSON.

    The second one cannot reach its Redis, which has a password.
    """
    settings = {"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200, "LOG_LEVEL": "DEBUG", "SECRET": SECRET}
    made = Deployment(broker, redis_url, _module_dir, settings=settings)
    made.create_topics()
    add_users(made, USERS)
    away = f"redis://worker:{REDIS_PASSWORD}@127.0.0.1:{free_ports(1)[0]}/0"
    with Worker(made) as text, Worker(made.with_settings(LOG_FORMAT="json", REDIS=away)) as as_json:
        text.wait_ready()
        as_json.wait_ready()
        while {text.metric("ecounters_partitions"), as_json.metric("ecounters_partitions")} != {2.0}:
            time.sleep(0.05)
        asyncio.run(publish_messages(made, bad_events(), 0, misroute_every=7))
        wait_until_flushed(made)
        yield text, as_json
    made.end_all()


def entries(worker: Worker) -> list[dict[str, Any]]:
    """The entries of a log that is JSON. Each line must be one."""
    return [json.loads(line) for line in worker.log.read_text().splitlines()]


def bad_events() -> Iterator[Published]:
    """Good events with the number where one belongs, and events with it in each field, in several spellings."""
    good = {"type": "call.started", "ts": int(time.time() * 1000), "callType": "IBD", "number": f"+{NUMBER}"}
    for user in USERS:
        whole = {**good, "id": "e1", "userId": user, "callId": "c1"}
        yield Published(0, user, json.dumps(whole).encode())
        for at, (name, value) in enumerate((name, value) for name in FIELDS for value in SPELLINGS):
            event = {**whole, "id": f"x{at}", "callId": f"d{at}", name: value}
            yield Published(0, user, json.dumps(event).encode())
        yield Published(0, user, json.dumps({**whole, "type": "dtmf.received", "digits": NUMBER}).encode())
        yield Published(0, user, json.dumps(whole).encode()[:-5])
        yield Published(0, user, NUMBER.encode())
        yield Published(0, user, b"\xff" + NUMBER.encode())
    yield Published(0, f"+{NUMBER}", json.dumps({**good, "id": "e1", "userId": "u1", "callId": "c2"}).encode())


def ask_everything(text: Worker, as_json: Worker, ssid: str) -> None:
    """Requests of each kind, with secrets and numbers wherever a client could put them."""
    for worker in (text, as_json):
        for user in USERS:
            worker.ask({"userId": user, "token": TOKEN, "filter": [{"field": "did", "value": NUMBER}]})
        worker.ask({"userId": "u1", "token": WRONG_TOKEN})
        worker.ask({"ssid": ssid, "filter": [{"field": NUMBER, "op": NUMBER, "value": NUMBER}], NUMBER: 1})
        worker.request("POST", SERIES_PATHS[0], {"ssid": ssid, "interval": NUMBER})
        worker.request("POST", PATH, NUMBER.encode(), {"X-Request-Id": NUMBER, "X-Forwarded-For": NUMBER})
        for query in (f"ssid={ssid}&filter={NUMBER}", f"token={TOKEN}", f"{NUMBER}={ssid}"):
            worker.request("GET", f"{STREAM_PATHS[0]}?{query}")
        worker.request("GET", f"/{NUMBER}?ssid={ssid}", headers={"Cookie": f"ecounters={ssid}"})
        worker.request("GET", "/dashboard/session", headers={"Cookie": f"ecounters={ssid}; ecounters={NUMBER}"})
        as_page = {"Content-Type": "application/json", "Cookie": f"ecounters={ssid}"}
        worker.request("POST", "/dashboard/login", {"userId": "u1", "token": WRONG_TOKEN}, as_page)
        worker.request("POST", "/dashboard/series", {"interval": "1d", NUMBER: NUMBER}, as_page)
        worker.request(NUMBER, f"/{ssid}")
        worker.request("POST", "/internal/answer", NUMBER.encode(), {"X-Ecounters-Signature": SECRET})


def test_no_secret_and_no_number_is_logged_at_any_level(workers: tuple[Worker, Worker]) -> None:
    """Not of good and refused events, requests, cookies, addresses, settings, nor of what workers send one another."""
    text, as_json = workers
    ssid = open_session(text.deployment, "u1")
    ask_everything(text, as_json, ssid)
    assert text.metric("ecounters_hops_total")
    assert text.metric("ecounters_events_refused_total") > 20
    for worker in workers:
        said = worker.log.read_text()
        assert "DEBUG" in said and "refused" in said and "/internal/answer" in said
        for secret in (NUMBER, NUMBER[2:], TOKEN, WRONG_TOKEN, ssid, REDIS_PASSWORD, SECRET):
            assert secret not in said, [line for line in said.splitlines() if secret in line][:3]
    assert "Redis cannot be used" in as_json.log.read_text()


def test_a_request_has_one_id_in_both_workers(workers: tuple[Worker, Worker]) -> None:
    """Taken if it is harmless, else made; given back with errors too; handed to the partition's owner."""
    text, as_json = workers
    for user in USERS:
        reply = text.ask({"userId": user, "token": TOKEN}, {"X-Request-Id": f"from-client.{user}"})
        assert (reply.status, reply.headers["X-Request-Id"]) == (200, f"from-client.{user}")
    lines = text.log.read_text().splitlines()
    assert all(any(f"[request from-client.{user}]" in line for line in lines) for user in USERS)
    handed = {entry["request_id"] for entry in entries(as_json) if "/internal/answer" in entry["message"]}
    theirs = {f"from-client.{user}" for user in USERS if partition_of(user, 4) in owned(as_json)}
    assert theirs and theirs <= handed
    made = set()
    for given in ("", "x" * 129, "a b", 'a"b', NUMBER, f"+{NUMBER}", "a\u00e4"):
        refused = text.request("POST", PATH, b"x", {"X-Request-Id": given.encode("latin-1").decode("latin-1")})
        made.add(refused.headers["X-Request-Id"])
        assert refused.status == 400 and refused.headers["X-Request-Id"] != given
    assert len(made) == 7
    assert text.request("PUT", PATH, headers={"X-Request-Id": "q-1"}).headers["X-Request-Id"] == "q-1"


def owned(worker: Worker) -> set[int]:
    """The partitions that a worker has, as its newest line about it says."""
    last = [entry["message"] for entry in entries(worker) if "generation" in entry["message"]][-1]
    return set(json.loads(last.partition("partitions ")[2]))


def test_refused_events_are_logged_by_kind_and_found_by_user_and_id(workers: tuple[Worker, Worker]) -> None:
    """A kind is one line for hundreds of events, which `ecounters dlq` finds by user, id and reason."""
    text, _ = workers
    said = [line for line in text.log.read_text().splitlines() if " refused " in line]
    kinds = [line.split(": ", 2)[2].partition(", last at")[0] for line in said]
    assert kinds and len(kinds) == len(set(kinds)), said
    found = subprocess.run(
        [sys.executable, "-m", "streams.cli", "dlq", "--user", "u3", "--reason", "not_json"],
        cwd=ROOT, env=text.deployment.environment(), capture_output=True, encoding="utf-8", timeout=60, check=True,
    ).stdout  # fmt: skip
    assert '"userId": "u3"' in found and '"userId": "u1"' not in found and "not_json" in found


def test_a_worker_says_first_and_last_what_it_is(deployment: Deployment) -> None:
    """Release, instance, cluster, topic and partitions; at the end also how it ended."""
    with Worker(deployment.with_settings(LOG_FORMAT="json")) as worker:
        worker.wait_ready().end()
    said = entries(worker)
    first, last = (next(entry for entry in said if entry["message"].startswith(word)) for word in ("started", "ended"))
    for entry in (first, last):
        assert (entry["instance"], entry["topic"], entry["partitions"]) == (worker.name, deployment.name, 4)
        assert entry["version"] and entry["cluster"] and entry["topic_id"]
    assert (last["exit_code"], last["reason"]) == (0, "told to stop")
    assert first["serving"] == f"http://127.0.0.1:{worker.port}"


def test_a_refused_start_is_one_entry_of_json(deployment: Deployment) -> None:
    """A collector of JSON gets the line that says what is wrong, too."""
    missing = deployment.with_settings(TOPIC=f"{deployment.name}-not-there", LOG_FORMAT="json")
    with Worker(missing) as worker:
        assert worker.process.wait(20) == 2
    (entry,) = [entry for entry in entries(worker) if entry["level"] == "CRITICAL"]
    assert "not-there" in entry["message"]


def test_a_crash_is_one_entry(deployment: Deployment) -> None:
    """With its cause, where it was raised, and no number; Faust's services, which all report it, are not heard. The
    last entry says the reason again."""
    with Worker(deployment, launcher=["tests.support.crashing"]) as worker:
        worker.wait_ready()
        asyncio.run(publish_messages(deployment, [Published(0, "u1", b"{}")], 0))
        assert worker.process.wait(20) == 70
    said = [line for line in worker.log.read_text().splitlines() if "KeyError" in line]
    assert len(said) == 2, said
    assert "an event could not be counted" in said[0] and "crashing.py" in said[0] and " in apply_batch < " in said[0]
    assert " ended: " in said[1] and said[1].endswith("exit_code=70 reason=KeyError: '…'")
    assert NUMBER not in worker.log.read_text()
