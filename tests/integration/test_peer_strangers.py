"""What listens at the address of a worker that has died is not believed, and costs little."""

from __future__ import annotations

import http.client
import json
import re
import time
from pathlib import Path

import brotli
import pytest

from streams.web.paths import PEER_PATH
from tests.support.peer_strangers import CLAIMED, Answer, drip, endless, refusing, stranger, whole
from tests.support.peers import SECRET, USERS, counters_request, fill, right_replies, signature_of, signed
from tests.support.replies import assert_error
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

MOVING = "Internal server error: these counters are being moved or restored; try again shortly"


def memory_kb(worker: Worker) -> int:
    """The most memory that a worker has had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.fixture
def workers(deployment: Deployment) -> list[Worker]:
    """Two workers that share four partitions and have counted all calls. A dead one keeps its partitions for 60 s."""
    fill(deployment)
    settings = deployment.with_settings(SECRET=SECRET, SESSION_TIMEOUT_S=60)
    started = [Worker(settings).wait_ready() for _ in range(2)]
    right_replies(started)
    wait_until_flushed(deployment)
    return started


def user_of(owner: Worker) -> str:
    """A user whose partition the worker has."""
    for user in USERS:
        content, headers = signed(SECRET, int(time.time() * 1000), user)
        if owner.request("POST", PEER_PATH, content, headers).status == 200:
            return user
    raise AssertionError("it has no user")


def recorded(worker: Worker, user: str) -> Answer:
    """Sends, byte for byte, what the worker replies now to a signed request for the user."""
    content, headers = signed(SECRET, int(time.time() * 1000), user)
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=5)
    connection.request("POST", PEER_PATH, content, headers)
    response = connection.getresponse()
    head = "".join(f"{name}: {value}\r\n" for name, value in response.getheaders())
    reply = f"HTTP/1.1 {response.status} OK\r\n{head}\r\n".encode() + response.read()
    connection.close()
    assert b"Ecounters-Signature: " in reply and b'"CNC"' in reply
    return lambda connection: connection.sendall(reply)


def test_a_stranger_at_the_address_of_a_dead_worker_is_not_believed(workers: list[Worker]) -> None:
    """False, replayed, endless and slow replies: 503 within the limit, little memory, and one line in the log."""
    asked, dead = workers
    user = user_of(dead)
    replay = recorded(dead, user)
    body = b'{"message":{"TC":666},"status":"success"}'
    dead.kill()
    answers = {
        "false": whole(body),
        "claimed": whole(body, CLAIMED),
        "bomb": whole(brotli.compress(b" " * 60_000_000), b"Content-Encoding: br\r\n"),
        "replayed": replay,
        "refusal": refusing,
        "endless": endless(),
        "endless, claimed": endless(CLAIMED),
        "drip": drip,
    }
    before = memory_kb(asked)
    for name, answer in answers.items():
        with stranger(dead.port, answer):
            began = time.monotonic()
            reply = asked.ask(counters_request(user))
            took_s = time.monotonic() - began
        assert_error(reply, 503, 1032, MOVING)
        assert reply.headers["Retry-After"] == "1"
        assert took_s < (4 if name == "drip" else 1.5), (name, took_s)
    assert memory_kb(asked) - before < 30_000
    log = asked.log.read_text()
    said = [line for line in log.splitlines() if f"127.0.0.1:{dead.port}" in line and "WARNING streams.web" in line]
    assert len(said) == 1 and "without the right signature" in said[0], said
    assert SECRET not in log and '"TC"' not in log
    assert asked.metric("ecounters_hops_total") >= len(answers)


def test_a_signed_request_that_is_none_of_a_workers_gets_400(workers: list[Worker]) -> None:
    """Not JSON, no object, wrong types, and zones that are none: 400 in the documented form, and no traceback."""
    owner = workers[0]
    user = user_of(owner)
    right: dict[str, object] = {"userId": user, "zone": "UTC", "at": int(time.time() * 1000), "asked": {}}
    zones = ("../../etc/passwd", "/etc/passwd", "No/Where", "America", "x" * 5_000, "a\0b", "", None)
    wrong: list[tuple[str, object]] = [("zone", zone) for zone in zones]
    wrong += [("userId", 7), ("at", "now"), ("at", 1.5), ("asked", []), ("nonce", {})]
    contents = [json.dumps({**right, name: value}).encode() for name, value in wrong]
    contents += [json.dumps({name: right[name] for name in right if name != gone}).encode() for gone in right]
    why = "Invalid parameter: the body is no request of a worker"
    for content in (b"", b"{", b"[]", b"[" * 100_000, b'{"userId":"\\ud800"}', b"\xff", *contents):
        assert_error(owner.request("POST", PEER_PATH, content, signature_of(content)), 400, 1000, why)
    for asked, code in (({"filter": 7}, 1001), ({"interval": "2h"}, 1000), ({"Field": ["XX"]}, 1000)):
        content = json.dumps({**right, "asked": asked}).encode()
        reply = owner.request("POST", PEER_PATH, content, signature_of(content))
        assert (reply.status, reply.json["code"]) == (400, code)
    log = owner.log.read_text()
    assert "Traceback" not in log and " ERROR streams." not in log, log  # aiokafka logs a commit amid a rebalance
