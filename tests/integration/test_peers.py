"""Three workers that reply for one another's users, also while one of them dies or leaves."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import pytest

from ecounters.events.partitioner import partition_of
from streams.web.paths import PEER_PATH, TAKEN_PATH
from tests.support.peers import SECRET, USERS, counters_request, fill, right_replies, signed
from tests.support.topics import wait_until_flushed
from tests.support.workers import PATH, Deployment, Worker

CLIENTS = 8
REPLY_HEADERS = (
    "ETag",
    "X-Ecounters-As-Of",
    "X-Ecounters-Lag-Ms",
    "X-Ecounters-Complete",
    "X-Ecounters-Suspected",
    "X-Ecounters-Range",
    "X-Ecounters-Position",
)


def partitions_owned(workers: Sequence[Worker]) -> list[float]:
    """How many partitions each worker has."""
    return [worker.metric("ecounters_partitions") for worker in workers]


@dataclass
class Clients:
    """Clients that ask all workers for all users in turn. ``ports`` may change meanwhile.

    ``replies``: (status, Retry-After, is right) -> number of replies. Connection errors are not counted.
    """

    expected: Mapping[str, bytes]
    ports: list[int]
    replies: Counter[tuple[int, str | None, bool]] = field(default_factory=Counter)
    stopped: bool = False

    async def ask(self) -> None:
        """Ask until ``stopped``."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            await asyncio.gather(*(self._client(session, at) for at in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession, at: int) -> None:
        for user, turn in zip(itertools.cycle(USERS[at:] + USERS[:at]), itertools.count(at), strict=False):
            if self.stopped:
                return
            url = f"http://127.0.0.1:{self.ports[turn // len(USERS) % len(self.ports)]}{PATH}"
            try:
                async with session.post(url, json=counters_request(user)) as reply:
                    body = await reply.read()
                    right = body == self.expected[user]
                    self.replies[reply.status, reply.headers.get("Retry-After"), right] += 1
            except (aiohttp.ClientConnectionError, ConnectionError):
                await asyncio.sleep(0.01)  # this worker was killed

    def ask_while(self, happening: Callable[[], None]) -> None:
        """Ask while ``happening`` runs, and assert that all replies were right or 503."""

        async def both() -> None:
            asking = asyncio.create_task(self.ask())
            try:
                await asyncio.to_thread(happening)
            finally:
                self.stopped = True
                await asking

        asyncio.run(both())
        wrong = {
            kind: count for kind, count in self.replies.items() if kind not in ((200, None, True), (503, "1", False))
        }
        assert not wrong
        assert self.replies[200, None, True] > 100


@pytest.fixture
def workers(deployment: Deployment) -> list[Worker]:
    """Three workers that share four partitions and have counted all calls."""
    fill(deployment)
    started = [Worker(deployment).wait_ready() for _ in range(3)]
    wait_until_flushed(deployment)
    for worker in started:
        worker.wait_ready()  # ready again after the rebalance
    return started


def test_any_worker_replies_for_any_user(deployment: Deployment, workers: list[Worker]) -> None:
    """Each worker gives the same bytes and headers for each user, 304 and refusals included."""
    bodies = right_replies(workers)
    assert sorted(partitions_owned(workers)) == [1, 1, 2]
    for user in USERS:
        replies = [worker.ask(counters_request(user)) for worker in workers]
        headers = [{name: reply.headers[name] for name in REPLY_HEADERS} for reply in replies]
        assert headers[0] == headers[1] == headers[2]
        assert {reply.body for reply in replies} == {bodies[user]}
        assert headers[0]["X-Ecounters-Position"].startswith(f"{partition_of(user, deployment.partitions)}:")
        for worker in workers:
            again = worker.ask(counters_request(user), {"If-None-Match": headers[0]["ETag"]})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", headers[0]["ETag"])
            fields = worker.ask(
                counters_request(user) | {"Field": ["UC"], "filter": [{"field": "date", "value": "last7days"}]}
            )
            assert fields.json["message"]["UC"] == USERS.index(user) + 1
            old = worker.ask(counters_request(user) | {"filter": [{"field": "date", "value": "2001-01-01"}]})
            assert (old.status, old.json["code"]) == (400, 1000)
            assert old.json["message"].startswith("Invalid parameter: filter[0].value: counts are kept back to ")
        strange = {"field": "did", "op": "nin", "value": [10**20, "x" * 100]}
        short = len(json.dumps(counters_request(user) | {"filter": [strange]}))
        long = {"field": "did", "op": "nin", "value": ["x" * ((65_536 - short - 50) // 600 - 4)] * 600}
        for filtered in ([strange], [strange, long]):
            replies = [worker.ask(counters_request(user) | {"filter": filtered}) for worker in workers]
            assert [reply.status for reply in replies] == [200] * 3, replies
            assert len({reply.body for reply in replies}) == 1
    assert sum(worker.metric("ecounters_hops_total") for worker in workers) > 0


def test_while_a_killed_worker_is_replaced_replies_are_right_or_503(
    deployment: Deployment, workers: list[Worker]
) -> None:
    """Every 200 is right, and all else is 503 with Retry-After, until the partitions are restored; then all are 200."""
    expected = right_replies(workers)
    clients = Clients(expected, [worker.port for worker in workers])

    def kill() -> None:
        time.sleep(1)
        workers[0].kill()  # it has most of the users
        time.sleep(1)
        workers[0] = Worker(deployment, workers[0])
        clients.ports[0] = workers[0].port
        right_replies([worker.wait_ready() for worker in workers])

    clients.ask_while(kill)
    assert clients.replies[503, "1", False]
    assert right_replies(workers, 5) == expected


def test_while_workers_leave_and_join_in_order_all_replies_are_right(
    deployment: Deployment, workers: list[Worker]
) -> None:
    """In two orderly rebalances every reply of a worker that is not ending is 200 and right."""
    expected = right_replies(workers)
    clients = Clients(expected, [worker.port for worker in workers])

    def end() -> None:
        time.sleep(1)
        del clients.ports[2]
        workers.pop().end()
        right_replies(workers)
        workers.append(Worker(deployment).wait_ready())
        clients.ports.append(workers[2].port)
        right_replies(workers)

    clients.ask_while(end)
    assert {status for status, *_ in clients.replies} == {200}
    assert sorted(partitions_owned(workers)) == [1, 1, 2]
    assert right_replies(workers, 5) == expected


def test_a_peer_that_hangs_gives_503_after_2_s(workers: list[Worker]) -> None:
    """A request for a user of a stopped worker gets 503 after 2 s, and 200 once that worker goes on."""
    expected = right_replies(workers)
    statuses = []
    workers[0].process.send_signal(signal.SIGSTOP)
    try:
        for user in USERS:
            began = time.monotonic()
            reply = workers[1].ask(counters_request(user))
            assert time.monotonic() - began < 4
            assert (reply.status, reply.body == expected[user]) in ((200, True), (503, False))
            assert reply.status == 200 or reply.headers["Retry-After"] == "1"
            statuses.append(reply.status)
    finally:
        workers[0].process.send_signal(signal.SIGCONT)
    assert 503 in statuses
    assert right_replies(workers) == expected
    assert "gives no answer: TimeoutError" in workers[1].log.read_text()


def test_the_peer_route_accepts_only_fresh_signed_requests(deployment: Deployment) -> None:
    """A request between workers is refused unless it is signed with their secret, and lately."""
    fill(deployment)
    with Worker(deployment.with_settings(SECRET=SECRET)).wait_ready() as worker:
        now_ms = int(time.time() * 1000)
        content, headers = signed(SECRET, now_ms)
        expected = right_replies([worker])["u0"]
        assert worker.request("POST", PEER_PATH, content, headers).body == expected
        for body, given in (
            (content, {}),
            (content, {"X-Ecounters-Signature": ""}),
            (content, {"X-Ecounters-Signature": "\u00e9"}),
            (content.replace(b"u0", b"u1"), headers),
            signed("another-secret-of-24-char", now_ms),
            signed("", now_ms),
            signed(SECRET, now_ms - 400_000),
            signed(SECRET, now_ms + 400_000),
        ):
            refused = worker.request("POST", PEER_PATH, body, given)
            assert (refused.status, refused.body) == (403, b"")
        for given in ({}, signed("another-secret-of-24-char", now_ms)[1]):
            taken = worker.request("POST", TAKEN_PATH, content, given)
            assert (taken.status, taken.body) == (403, b"")
        assert worker.request("POST", TAKEN_PATH, content, headers).status == 400  # signed, and none of its messages
        assert SECRET not in worker.log.read_text()


def test_workers_with_different_secrets_refuse_one_another(deployment: Deployment) -> None:
    """Users of the other worker get 503, or what this one had of them before and says that it is incomplete; the log
    says why. Each worker goes on with its own users."""
    fill(deployment)
    workers = [Worker(deployment.with_settings(SECRET=secret)).wait_ready() for secret in (SECRET, SECRET.upper())]
    wait_until_flushed(deployment)
    workers[0].wait_ready()
    for user in USERS:
        replies = [worker.ask(counters_request(user)) for worker in workers]
        right = [reply.headers.get("X-Ecounters-Complete") == "true" for reply in replies]
        assert sorted(right) == [False, True], workers[0].log_tail()
        other = replies[right.index(False)]
        assert other.status == 503 or other.headers["X-Ecounters-Complete"] == "false"
    assert "ECOUNTERS_SECRET or the clocks differ" in workers[0].log.read_text()
