"""Each row of requests, made alone: what a worker must answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

import brotli
from redis import Redis

from streams.access.store import sessions_key
from streams.settings.table import Settings
from streams.web.paths import PEER_PATH
from tests.support.accounts import TOKEN
from tests.support.attacks import request_storm as storm
from tests.support.attacks.helper import Job
from tests.support.attacks.scene import Scene
from tests.support.peer_strangers import CLAIMED, Answer, drip, endless, refusing, stranger, whole
from tests.support.peers import signature_of
from tests.support.request_attacks import compressed
from tests.support.workers import PATH, Reply

LISTENERS: Final = 2_000
AT_ONCE: Final = 100
LOG_INS: Final = 300
REFUSED: Final = {400, 403, 404, 405, 413, 415}
HOP_LIMIT_S: Final = 4.0
FALSE_REPLIES: Final[tuple[Answer, ...]] = (
    whole(b'{"message":{"TC":666},"status":"success"}'),
    whole(b'{"message":{"TC":666},"status":"success"}', CLAIMED),
    whole(brotli.compress(b" " * 60_000_000), b"Content-Encoding: br\r\n"),
    refusing,
    endless(),
    endless(CLAIMED),
    drip,
)


def statuses(scene: Scene, contents: Iterable[bytes]) -> Counter[int]:
    """The statuses of requests, AT_ONCE at a time; each is what is sent over one connection."""

    async def one(content: bytes, gate: asyncio.Semaphore) -> int:
        async with gate:
            return await storm.status_of(scene.worker.port, content)

    async def every() -> list[int]:
        gate = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(content, gate) for content in contents))

    return Counter(asyncio.run(every()))


def compressed_bombs(scene: Scene, job: Job) -> None:
    """Row 31: what unpacks to more than 64 KiB is refused, on any path."""
    found = statuses(scene, (content for _, content in compressed()))
    assert set(found) <= REFUSED and found[413] >= 3, found


def strangers_and_listeners(scene: Scene, job: Job) -> None:
    """Row 32: wrong sessions are refused, and 2,000 listeners that come within 2 s get their counters."""
    wrong = itertools.islice(storm.strange_sessions(job), 10 * storm.STRANGERS)
    assert set(statuses(scene, wrong)) == {403}
    found = statuses(scene, itertools.islice(storm.listeners(job), LISTENERS))
    assert found == {200: LISTENERS}, found


def guesses(scene: Scene, job: Job) -> None:
    """Row 33: 25 wrong tokens are slowed; the right one is good from where the user was before."""
    user, home = job["users"][0], {"X-Forwarded-For": job["home"]}
    right, wrong = {"userId": user, "token": TOKEN}, {"userId": user, "token": "a wrong token of theirs"}
    assert scene.worker.ask(right, home).status == 200
    found = Counter(scene.worker.ask(wrong, {"X-Forwarded-For": f"192.0.2.{at}"}).status for at in range(25))
    assert found[403] <= Settings().throttle_per_min and found[403] + found[429] == 25 and found[429], found
    assert scene.worker.ask(right, home).status == 200


def log_ins(scene: Scene, job: Job) -> None:
    """Row 34: a user has a bounded number of sessions, however often it logs in."""
    assert statuses(scene, itertools.islice(storm.log_ins(job), LOG_INS))[200] > 0
    assert_bounded_sessions(scene, job["login_user"])


def assert_bounded_sessions(scene: Scene, user: str) -> None:
    """Assert that a user who has logged in often has the most sessions that a user may have."""
    with Redis.from_url(scene.deployment.redis_url) as redis:
        assert redis.zcard(sessions_key(user)) == Settings().sessions_per_user


def false_peers(scene: Scene, job: Job) -> None:
    """Row 35: what listens at a dead worker's address is not believed, however it replies."""
    for reply in FALSE_REPLIES:
        with stranger(job["dead_port"], reply):
            began = time.monotonic()
            assert scene.worker.ask({"userId": job["dead_user"], "token": TOKEN}).status == 503
            assert time.monotonic() - began < HOP_LIMIT_S


def strange_peers(scene: Scene, job: Job) -> None:
    """Row 37: signed, and no request of a worker: 400."""
    for body in storm.strange_bodies(job["users"][0]):
        assert scene.worker.request("POST", PEER_PATH, body, signature_of(body)).status == 400, body


def other_origins(scene: Scene, job: Job) -> None:
    """Row 40: a page of another origin may read the ETag and our headers."""
    exposed = _ask(scene, job, {"Origin": "https://app.example.invalid"}).headers["Access-Control-Expose-Headers"]
    assert {"ETag", "X-Ecounters-As-Of", "X-Ecounters-Complete"} <= set(exposed.split(", "))


def odd_forms(scene: Scene, job: Job) -> None:
    """Row 41: an ETag with -gzip, a trailing slash and other case in the path are taken."""
    tag = _ask(scene, job).headers["ETag"]
    assert _ask(scene, job, {"If-None-Match": f'{tag[:-1]}-gzip"'}).status == 304
    assert _ask(scene, job, path=f"{PATH}/").status == _ask(scene, job, path=PATH.upper()).status == 200


def _ask(scene: Scene, job: Job, headers: dict[str, str] | None = None, path: str = PATH) -> Reply:
    return scene.worker.request("POST", path, {"userId": job["login_user"], "token": TOKEN}, headers)


ALONE: Final = (
    compressed_bombs, strangers_and_listeners, guesses, log_ins, false_peers, strange_peers, other_origins, odd_forms,
)  # fmt: skip
