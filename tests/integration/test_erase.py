"""`ecounters user erase`: what it does, what it leaves, and that nothing comes back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from redis import Redis

from ecounters.changelog.entries import POSITION, keep_last
from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from ecounters.simulator.world import Published
from streams.access.store import networks_key, session_key, sessions_key, user_key
from streams.basics.times import now_ms
from streams.tools import erase as module
from tests.support.accounts import TOKEN, add_users, erase
from tests.support.builders import ALL_FIELDS, CallScript, encoded, ms
from tests.support.log_publisher import LogPublisher
from tests.support.published_calls import publish_values
from tests.support.sessions import kept_in_redis
from tests.support.topics import read_topic, wait_until_flushed
from tests.support.workers import PATH, Deployment, Reply, Worker

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
SERIES: Final = PATH.rsplit("/", 1)[0] + "/series"
INPUTS: Final = 80
"""Different inputs of one DID, or of one call: more than a cell or a call holds in one entry of the changelog."""


def published(deployment: Deployment) -> list[tuple[int, bytes | None, dict[str, Any]]]:
    """(partition, key, event) of all account.erased in the topic of events."""
    records = asyncio.run(read_topic(deployment.broker, deployment.name)).items()
    found = [(partition, record.key, json.loads(record.value)) for partition, read in records for record in read]
    return [one for one in found if one[2]["type"] == "account.erased"]


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of the tests' Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def user(deployment: Deployment) -> str:
    """A user with an account, whose id no other test has."""
    add_users(deployment, [deployment.name])
    return deployment.name


# ------------------------------------------------------------------------------------------ the command


def test_erase_publishes_ends_and_removes(deployment: Deployment, redis: Redis, user: str) -> None:
    """The event is on the user's partition, sessions get 1015, the account is gone; a second run does no harm."""
    before = now_ms()
    with Worker(deployment).wait_ready() as worker:
        logged_in = worker.request(
            "POST", "/dashboard/login", {"userId": user, "token": TOKEN}, {"Content-Type": "application/json"}
        )
        cookie = {"Cookie": logged_in.headers["Set-Cookie"].partition(";")[0]}
        born = redis.hget(user_key(user), "born") or b""
        redis.hset(session_key("of 0.2"), items=["user", user, "born", born, "agent", "", "logged_in", "1"])
        assert worker.ask({"ssid": "of 0.2"}).status == 200
        assert redis.exists(networks_key(user))
        done = erase(deployment, user, "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Removed the account; 2 sessions were ended." in done.stdout
        for credentials in ({"ssid": "of 0.2"}, {"userId": user, "token": TOKEN}):
            reply = _until(lambda: worker.ask(credentials), lambda reply: reply.status != 200)  # noqa: B023
            assert reply.json["code"] == 1015
        session = _until(
            lambda: worker.request("GET", "/dashboard/session", headers=cookie), lambda reply: b"null" in reply.body
        )
        assert session.json["message"] is None
    assert user not in kept_in_redis(deployment.redis_url)
    [(partition, key, event)] = published(deployment)
    assert (partition, key) == (partition_of(user, deployment.partitions), user.encode())
    assert (event["userId"], before <= event["ts"] <= now_ms()) == (user, True)
    again = erase(deployment, user, "--yes")
    assert (again.returncode, again.stderr) == (0, "")
    assert "There was no account; 0 sessions were ended." in again.stdout
    first, second = published(deployment)
    assert (first[0], first[2]["userId"]) == (second[0], second[2]["userId"])
    assert first[2]["id"] != second[2]["id"]


def _until(ask: Callable[[], Reply], is_done: Callable[[Reply], bool]) -> Reply:
    """Ask until the worker has looked the credentials up again: for some seconds it knows them."""
    deadline = time.monotonic() + 10
    while not is_done(reply := ask()):
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    return reply


def test_erase_asks_first(deployment: Deployment, redis: Redis, user: str) -> None:
    """With a no nothing is done, with a yes all of it."""
    asked = erase(deployment, user, typed="n\n")
    assert asked.returncode == 130
    assert f'Erase all counters, the account and the sessions of "{user}"? This cannot be undone.' in asked.stderr
    assert (published(deployment), redis.exists(user_key(user))) == ([], 1)
    assert erase(deployment, user, typed="y\n").returncode == 0
    assert (len(published(deployment)), redis.exists(user_key(user))) == (1, 0)


def test_an_erasure_that_fails_in_between_can_be_repeated(deployment: Deployment, redis: Redis, user: str) -> None:
    """If Redis is away after the event was published, the account is still there, and the second run removes it."""
    failed = erase(deployment.with_settings(REDIS="redis://127.0.0.1:1/0"), user, "--yes")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("ecounters: Redis at redis://127.0.0.1:1/0: ")
    assert (len(published(deployment)), redis.exists(user_key(user))) == (1, 1)
    assert erase(deployment, user, "--yes").returncode == 0
    assert (len(published(deployment)), redis.exists(user_key(user), sessions_key(user))) == (2, 0)


def test_an_erasure_that_workers_would_refuse_removes_no_account(
    deployment: Deployment, redis: Redis, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this machine's clock is ahead of the broker's, the event is a dead letter: the command says so."""
    monkeypatch.setattr(module, "now_ms", lambda: now_ms() + HOUR_MS)
    with pytest.raises(Stop, match="the clock of this machine is ahead"):
        asyncio.run(module.erase(deployment.loaded(), user))
    assert redis.exists(user_key(user))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "no event can have"),
        ("u" * 129, "no event can have"),
        ("\udcff", "no event can have"),
        ("x", "there is no topic"),
    ],
)
def test_what_cannot_be_erased_is_refused_before_anything_is_done(
    deployment: Deployment, name: str, words: str
) -> None:
    """An id that no event can have, and a topic that is missing."""
    elsewhere = deployment.with_settings(TOPIC="not-there") if words == "there is no topic" else deployment
    done = erase(elsewhere, name, "--yes")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert words in done.stderr
    assert not published(deployment)


def test_what_remains_is_said_by_the_settings_of_the_topics(deployment: Deployment, user: str) -> None:
    """How long the topics of events and of dead letters hold what they have, and the changelog."""
    said = erase(deployment, user, "--yes").stdout
    assert f"{deployment.name} holds the events of this user for 7 days after each was written (retention.ms)" in said
    assert f"{deployment.name}.dlq holds refused events of this user for 30 days" in said
    assert "until Kafka compacts it, about 1 hour after the erasure." in said
    assert "holds tombstones, which name numbers and DIDs, for 1 hour more until the next compaction." in said


# ------------------------------------------------------------------------------------- nothing comes back


def calls_of(user: str, marker: str, now: int) -> list[Published]:
    """Messages of ended and live calls, small and large, with the marker in each number and DID, and of balances."""
    scripts: list[tuple[int, CallScript]] = []
    for at in range(INPUTS):
        number, did = f"+{marker}{at:03}", f"DID-{marker}"
        call = CallScript(f"old-{at}", user).started(0, "IBD", number=number, did=did, campaignId=f"spring {marker}")
        call.entered(1, "menu").dtmf(2, str(at)).left(3, "menu").dialed(4).ringing(5).answered(9).ended(60 + at)
        scripts.append((now - 3 * HOUR_MS, call))
    for name, ended in (("new", True), ("live", False)):
        call = CallScript(name, user).started(0, "IBD", number=f"+{marker}999", did=f"DID-{marker}", switchId="s1")
        for at in range(INPUTS):
            call.dtmf(1 + at / 10, f"{at:03}")
        call.dialed(10, leg="a").ringing(11, leg="a").answered(12, leg="a")
        scripts.append((now - MINUTE_MS, call.ended(30) if ended else call))
    events = [{**event, "ts": event["ts"] - ms(0) + begin} for begin, call in scripts for event in call.events]
    events.append({"type": "balance.updated", "ts": now, "userId": user, "balance": 12.5, "callBalance": 3})
    return [Published(event["ts"], user, encoded({**event, "id": str(at)})) for at, event in enumerate(events)]


def compacted(deployment: Deployment) -> dict[bytes, bytes]:
    """The last value of each key of the changelog, of all partitions; without the positions."""
    topic = deployment.loaded().changelog_topic
    last: dict[bytes, bytes] = {}
    for records in asyncio.run(read_topic(deployment.broker, topic, "read_committed")).values():
        keep_last(last, ((record.key, record.value) for record in records))
        last.pop(POSITION, None)
    return last


def about(entries: dict[bytes, bytes], *markers: str) -> dict[bytes, bytes]:
    """The entries that have one of the markers in key or value."""
    found = [marker.encode() for marker in markers]
    return {key: value for key, value in entries.items() if any(one in key or one in value for one in found)}


def replies(worker: Worker, user: str, begin: int) -> list[Reply]:
    """Counters with all Fields, a series of them, and the counters of one DID."""
    dates = {"field": "date", "op": "between", "value": [begin, begin + 12 * HOUR_MS]}
    body = {"userId": user, "token": TOKEN, "Field": list(ALL_FIELDS), "filter": [dates]}
    asked = [
        worker.ask(body),
        worker.request("POST", SERIES, {**body, "interval": "15m"}),
        worker.ask({**body, "filter": [dates, {"field": "callType", "value": "IBD"}]}),
    ]
    assert {reply.status for reply in asked} == {200}, asked
    return asked


def test_nothing_of_an_erased_user_is_left_or_comes_back(deployment: Deployment) -> None:
    """No reply and no changelog entry has a number, DID or count of before; another user's are as they were.

    Also after a later event of an erased call, after kill -9, and on the worker that restores.
    """
    names = [f"{deployment.name}-{at:02}" for at in range(100)]  # none is the beginning of another one
    same = [name for name in names if partition_of(name, deployment.partitions) == 0]
    erased, other, nobody = same[:3]
    add_users(deployment, [erased, other, nobody])
    begin = now_ms() - 6 * HOUR_MS
    messages = calls_of(erased, "91771", now_ms()) + calls_of(other, "91882", now_ms())
    LogPublisher(deployment, sorted(messages, key=lambda message: message.at_ms), rate=0).wait()
    with Worker(deployment).wait_ready() as worker:
        wait_until_flushed(deployment)
        kept = about(compacted(deployment), other, "91882")
        assert len(about(compacted(deployment), erased, "91771")) == len(kept) > 2 * INPUTS
        before, of_other = replies(worker, erased, begin), replies(worker, other, begin)
        assert before[0].json["message"]["TC"] == INPUTS + 2
        assert before[0].body == of_other[0].body.replace(b"91882", b"91771")

        assert erase(deployment, erased, "--yes").returncode == 0
        late = CallScript("live", erased).ended(0).events[0]
        publish_values(deployment, erased, encoded({**late, "ts": now_ms()}))
        wait_until_flushed(deployment)
        add_users(deployment, [erased])
        _assert_forgotten(deployment, worker, (erased, other, nobody), begin, kept, of_other)
        worker.kill()
    with Worker(deployment, replaces=worker).wait_ready() as restored:
        wait_until_flushed(deployment)
        _assert_forgotten(deployment, restored, (erased, other, nobody), begin, kept, of_other)


def _assert_forgotten(
    deployment: Deployment,
    worker: Worker,
    users: tuple[str, str, str],
    begin: int,
    kept: dict[bytes, bytes],
    of_other: list[Reply],
) -> None:
    """Assert that the erased user's replies are those of a user of whom nothing was ever counted.

    ``users``: the erased one, another one, one without a call. ``kept``, ``of_other``: the other one's entries and
    replies of before, which must be there still.
    """
    erased, other, nobody = users
    for reply, empty in zip(replies(worker, erased, begin), replies(worker, nobody, begin), strict=True):
        assert reply.body == empty.body
        assert b"91771" not in reply.body
    assert [reply.body for reply in replies(worker, other, begin)] == [reply.body for reply in of_other]
    entries = compacted(deployment)
    assert about(entries, "91771", "spring 91771") == {}
    assert {key[:1] for key in about(entries, erased)} <= {b"c"}  # the record that the late call.ended began
    assert about(entries, other, "91882") == kept
