"""A process of strangers: it sends all attacks by requests, each again and again, at a bounded rate.

The job: port, worker (its pid), seconds, users (whom strangers guess at), home (an address from which these have logged
in), login_user, ssids (good ones of listeners), large_user (whose counters are large), dead_user (whose partition is a
dead worker's). The result: attack -> status -> how often; 0: the connection ended without a reply.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from streams.web.paths import COUNTERS_PATHS, DASHBOARD_PATH, PEER_PATH, STREAM_PATHS
from tests.support.accounts import TOKEN
from tests.support.attacks.helper import Job, serve
from tests.support.attacks.worker_clock import WorkerClock
from tests.support.peers import signature_of
from tests.support.request_attacks import attacks as shapes
from tests.support.request_attacks import get, post
from tests.support.workers import PATH

NICENESS: Final = 10
ANSWER_LIMIT_S: Final = 120.0
STRANGERS: Final = 60
"""Wrong sessions at a time."""
NOT_SENT_BY_WORKERS: Final = (b"no json", b"[]", b"{}", b"null", b'"text"', b"\xff\xfe")


class RequestAttack(NamedTuple):
    """A row of requests. ``requests``: each is what is sent over one connection, without end.

    ``at_a_time``: so many are sent every ``every_s``, together.
    """

    row: int
    requests: Callable[[Job], Iterator[bytes]]
    every_s: float
    at_a_time: int = 1


def _from(address: str) -> str:
    return f"X-Forwarded-For: {address}"


def _changing() -> Iterator[str]:
    """Addresses of networks that are all different."""
    for at in itertools.count():
        yield _from(f"10.{at >> 8 & 255}.{at & 255}.1")


def _asking(**body: object) -> bytes:
    return json.dumps(body).encode()


def bombs_and_shapes(job: Job) -> Iterator[bytes]:
    """Compressed bombs, deep JSON, large heads, tiny chunks: the same as are measured one by one."""
    return itertools.cycle([content for _, content in shapes()])


def strange_sessions(job: Job) -> Iterator[bytes]:
    """Wrong ssids, each from another address."""
    for at, address in enumerate(_changing()):
        yield post(_asking(ssid=f"wrong-{at}"), address)


def listeners(job: Job) -> Iterator[bytes]:
    """Listeners that come, and come again."""
    for ssid in itertools.cycle(job["ssids"]):
        yield get(f"{STREAM_PATHS[0]}?ssid={ssid}", _from("10.99.0.1"))


def wrong_tokens(job: Job) -> Iterator[bytes]:
    """Guesses at the token of good users, from elsewhere and from where these have logged in before."""
    for at, user in enumerate(itertools.cycle(job["users"])):
        address = job["home"] if at % 3 == 2 else "192.0.2.1"
        yield post(_asking(userId=user, token=f"a wrong token {at}"), _from(address))


def log_ins(job: Job) -> Iterator[bytes]:
    """Log-ins with one good token."""
    body = _asking(userId=job["login_user"], token=TOKEN)
    headers = ("Content-Type: application/json", _from("10.98.0.1"))
    return itertools.repeat(post(body, *headers, path=f"{DASHBOARD_PATH}/login"))


def strange_peers(job: Job) -> Iterator[bytes]:
    """Requests that are signed as workers sign theirs, and are none."""
    for body in itertools.cycle(strange_bodies(job["users"][0])):
        yield post(body, *(f"{name}: {value}" for name, value in signature_of(body).items()), path=PEER_PATH)


def strange_bodies(user: str) -> tuple[bytes, ...]:
    """Bodies that no worker sends to another. ``user``: whose partition the worker has."""
    at = int(time.time() * 1000)
    zones = (_asking(userId=user, zone=zone, at=at, asked={}) for zone in ("../../etc/passwd", "", 7, "\x00"))
    wrong: tuple[object, ...] = ([], {"filter": 1}, {"Field": ["XX"]})
    asked = (_asking(userId=user, zone="UTC", at=at, asked=one) for one in wrong)
    return *NOT_SENT_BY_WORKERS, *zones, *asked


def odd_forms(job: Job) -> Iterator[bytes]:
    """A page of another origin; a trailing slash; other case in the path; an ETag with -gzip; a cookie twice."""
    origin = ("Origin: https://app.example.invalid", _from("10.97.0.1"))
    body = _asking(userId=job["login_user"], token=TOKEN)
    paths = (PATH, f"{PATH}/", PATH.upper(), COUNTERS_PATHS[1].lower())
    asked = [post(body, *origin, path=path) for path in paths]
    asked.append(post(body, 'If-None-Match: W/"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk-gzip"', *origin))
    asked.append(get(f"{DASHBOARD_PATH}/session", "Cookie: ecounters=a; ecounters=b", *origin))
    return itertools.cycle(asked)


def large_replies(job: Job) -> Iterator[bytes]:
    """Counters of a user whose maps have 30,000 entries."""
    return itertools.repeat(post(_asking(userId=job["large_user"], token=TOKEN), _from("10.96.0.1")))


def users_of_the_dead(job: Job) -> Iterator[bytes]:
    """Questions for a user whose partition is a dead worker's, at whose address a stranger listens."""
    return itertools.repeat(post(_asking(userId=job["dead_user"], token=TOKEN), _from("10.95.0.1")))


REQUEST_ATTACKS: Final = (
    RequestAttack(31, bombs_and_shapes, 0.3),
    RequestAttack(32, strange_sessions, 1.0, STRANGERS),
    RequestAttack(32, listeners, 0.05),
    RequestAttack(33, wrong_tokens, 0.5),
    RequestAttack(34, log_ins, 0.025),
    RequestAttack(35, users_of_the_dead, 0.5),
    RequestAttack(37, strange_peers, 0.25),
    RequestAttack(41, odd_forms, 0.25),
    RequestAttack(19, large_replies, 3.0),
)


async def status_of(port: int, content: bytes) -> int:
    """Send bytes over a new connection and read the reply; of a stream, its first event. Returns the status, or 0."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin = b""
    try:
        writer.write(content)
        while more := await reader.read(65_536):
            begin = begin or more
            if b"text/event-stream" in begin and b"data:" in more:
                break
    except ConnectionError:  # the rest of a refused request is not read
        pass
    finally:
        writer.close()
    return int(begin[9:12]) if begin else 0


async def _all(job: Job) -> Job:
    clock = WorkerClock(job["worker"])
    found: dict[str, Counter[int]] = defaultdict(Counter)

    async def one(name: str, content: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                found[name][await status_of(job["port"], content)] += 1
        except TimeoutError:
            found[f"{name}: no reply to {content[:200]!r}"][0] += 1

    async def again_and_again(attack: RequestAttack, group: asyncio.TaskGroup) -> None:
        requests, name = attack.requests(job), attack.requests.__name__
        first = REQUEST_ATTACKS.index(attack) / len(REQUEST_ATTACKS)
        for at in range(int(job["seconds"] / attack.every_s)):
            await clock.sleep_until(first + at * attack.every_s)
            for content in itertools.islice(requests, attack.at_a_time):
                group.create_task(one(name, content))

    async with asyncio.TaskGroup() as group:
        for attack in REQUEST_ATTACKS:
            group.create_task(again_and_again(attack, group))
    return found


def _prepare(job: Job) -> Callable[[], Job]:
    return lambda: asyncio.run(_all(job))


if __name__ == "__main__":
    serve(_prepare, NICENESS)
