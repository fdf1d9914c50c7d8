"""Comparing workers with a recount of the log: counters, suspected calls and dead letters.

assert_recounted(deployment, [worker])    # waits until all is flushed, then compares everything
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ecounters.counters.definitions import FIELDS, PAYLOAD
from ecounters.recount.recount import Recount
from ecounters.simulator.world import Published
from tests.support.accounts import TOKEN
from tests.support.builders import ALL_FIELDS, encoded, event
from tests.support.log_publisher import USERS, LogPublisher, yesterday_ms
from tests.support.topics import CAUGHT_UP_LIMIT_S, read_topic, wait_until_flushed
from tests.support.workers import Deployment, Reply, Worker

DAY_MS: Final = 86_400_000
KEYS: Final = len(PAYLOAD) + len(FIELDS - {"TC", "MC"})
ASKED_WITHIN_MS: Final = 600_000
"""All workers are asked within this time after the log's last event. No call reaches a time limit in it."""
SEARCH_STEP_MS: Final = 60_000

Row = tuple[int, int, bytes | None]
DeadLetter = tuple[int, int, str, str, bytes | None]
"""(partition, offset, reason, field, value) of an event that was refused."""


def recounts(deployment: Deployment) -> list[Recount]:
    """A recount of each partition, from its log as it is now."""
    log = asyncio.run(read_topic(deployment.broker, deployment.name, "read_committed"))
    found = []
    for partition, records in sorted(log.items()):
        recount = Recount(partition, len(log))
        recount.read((record.offset, record.timestamp, record.value) for record in records)
        found.append(recount)
    return found


def is_quiet(recount: Recount, since_ms: int, until_ms: int) -> bool:
    """Whether no counter changes while the clock goes from ``since_ms`` to ``until_ms`` and no event arrives."""
    return all(
        recount.answer(user, 0, since_ms, ALL_FIELDS, since_ms)
        == recount.answer(user, 0, since_ms, ALL_FIELDS, until_ms)
        and recount.suspected(user, since_ms) == recount.suspected(user, until_ms)
        for user in recount.users()
    )


def settled_recounts(deployment: Deployment) -> list[Recount]:
    """Wait until the log is flushed, and return recounts that do not change while a test asks the workers.

    The clock of a partition goes on after its last event. A call that has been silent for almost 2 or 4 hours then
    becomes suspected or reaped, and the counters depend on when they are asked for. If such a limit is less than
    ASKED_WITHIN_MS away, one event that belongs to no call is published to all partitions. Its time is past the limit.
    """
    wait_until_flushed(deployment)
    counted = recounts(deployment)
    now_ms = int(time.time() * 1000)
    if all(is_quiet(one, one.watermark, one.clock_at(now_ms) + ASKED_WITHIN_MS) for one in counted):
        return counted
    at_ms = max(one.watermark for one in counted)
    while not all(is_quiet(one, at_ms, at_ms + ASKED_WITHIN_MS) for one in counted):
        at_ms += SEARCH_STEP_MS
    restarted = event("switch.restarted", 0, None, ts=at_ms, switchId="has-no-calls")
    LogPublisher(deployment, [Published(at_ms, None, encoded(restarted))], rate=0).wait()
    wait_until_flushed(deployment)
    counted = recounts(deployment)
    assert all(one.watermark == at_ms for one in counted)
    return counted


def ask_until_complete(workers: Sequence[Worker], user: str, begin_ms: int, end_ms: int) -> Reply:
    """Ask all workers until one has a reply that is complete and without lag. AssertionError after the limit."""
    body = {
        "userId": user,
        "token": TOKEN,
        "Field": list(ALL_FIELDS),
        "filter": [{"field": "date", "op": "between", "value": [begin_ms, end_ms]}],
    }
    deadline = time.monotonic() + CAUGHT_UP_LIMIT_S
    reply: Reply | None = None
    while time.monotonic() < deadline:
        for worker in workers:
            reply = worker.ask(body)
            assert reply.status in (200, 503), reply
            lag, complete = reply.headers.get("X-Ecounters-Lag-Ms"), reply.headers.get("X-Ecounters-Complete")
            if reply.status == 200 and lag == "0" and complete == "true":
                return reply
        time.sleep(0.1)
    logs = "\n".join(worker.log_tail() for worker in workers)
    raise AssertionError(f"{user}: no complete answer in {CAUGHT_UP_LIMIT_S} s; the last: {reply}\n{logs}")


def differences(
    workers: Sequence[Worker], counted: Sequence[Recount], begin_ms: int, end_ms: int
) -> tuple[int, list[str]]:
    """(number of values compared, lines that say what differs) for all users, keys and Fields of a range.

    ``counted``: from ``settled_recounts``, so that values do not depend on when the workers are asked.
    """
    compared, wrong = 0, []
    for recount in counted:
        for user in recount.users():
            expected = recount.answer(user, begin_ms, end_ms, ALL_FIELDS)
            reply = ask_until_complete(workers, user, begin_ms, end_ms)
            asked_after_ms = recount.clock_at(int(time.time() * 1000)) - recount.watermark
            assert asked_after_ms <= ASKED_WITHIN_MS, f"asked {asked_after_ms} ms after the log's last event"
            message: Mapping[str, Any] = reply.json["message"]
            if list(message) != list(expected):
                wrong.append(f"{user}: keys {list(message)}, expected {list(expected)}")
            for key, value in expected.items():
                compared += 1
                if message.get(key) != value:
                    wrong.append(f"{user} {key}: {message.get(key)}, recounted {value}")
            suspected = int(reply.headers["X-Ecounters-Suspected"])
            if suspected != recount.suspected(user):
                wrong.append(f"{user} suspected: {suspected}, recounted {recount.suspected(user)}")
    return compared, wrong


def dead_letters(deployment: Deployment) -> list[DeadLetter]:
    """The dead letters of a deployment, by partition and offset of the events that they come from."""
    found = []
    for records in asyncio.run(read_topic(deployment.broker, f"{deployment.name}.dlq", "read_committed")).values():
        for record in records:
            headers = {name: value.decode() for name, value in record.headers}
            assert headers["topic"] == deployment.name
            where = int(headers["partition"]), int(headers["offset"])
            found.append((*where, headers["reason"], headers["field"], record.value))
    return sorted(found, key=lambda letter: letter[:2])


def expected_dead_letters(deployment: Deployment, counted: Sequence[Recount]) -> list[DeadLetter]:
    """The dead letters that the recounts expect."""
    log = asyncio.run(read_topic(deployment.broker, deployment.name, "read_committed"))
    values = {(p, record.offset): record.value for p, records in log.items() for record in records}
    return sorted(
        (recount.partition, offset, reason, name, values[recount.partition, offset])
        for recount in counted
        for offset, reason, name in recount.refused
    )


def assert_recounted(deployment: Deployment, workers: list[Worker]) -> list[Recount]:
    """Assert that every counter, Field and dead letter equals the recount. Returns the recounts."""
    counted = settled_recounts(deployment)
    begin = yesterday_ms()
    compared, wrong = differences(workers, counted, begin, begin + DAY_MS)
    assert not wrong, "\n".join([*wrong[:50], *(worker.log_tail() for worker in workers)])
    assert compared == USERS * KEYS, f"{compared} values: the log has not named each of {USERS} users"
    assert dead_letters(deployment) == expected_dead_letters(deployment, counted)
    return counted
