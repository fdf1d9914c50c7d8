"""Holding workers against the log: what they answer, and what they dead-lettered, must be what a recount says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ecounters.recount.recount import Recount
from ecounters.simulator.world import Published
from streams.access.accounts import Accounts
from streams.kafka.topics import count_partitions
from tests.support.builders import ALL_FIELDS, encoded, event
from tests.support.log_publisher import Feed
from tests.support.workers import Deployment, Reply, Worker

TOKEN: Final = "a-token-for-tests"
CAUGHT_UP_LIMIT_S: Final = 90.0
ASKED_WITHIN_MS: Final = 600_000
"""A test asks the workers within this time (ms) after the log's last event. No call reaches a time limit meanwhile."""
SEARCH_STEP_MS: Final = 60_000

Row = tuple[int, int, bytes | None]
DeadLetter = tuple[int, int, str, str, bytes | None]
"""(partition, offset, reason, field, the message) of a refused event."""


async def read_topic(broker: str, topic: str, isolation: str = "read_uncommitted") -> dict[int, list[Any]]:
    """All records of a topic, by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker, enable_auto_commit=False, isolation_level=isolation, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, at) for at in range(await count_partitions(broker, topic))]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[int, list[Any]] = {tp.partition: [] for tp in partitions}
        for tp in partitions:
            while await consumer.position(tp) < ends[tp]:
                for records in (await consumer.getmany(tp, timeout_ms=500)).values():
                    found[tp.partition] += [r for r in records if r.offset < ends[tp]]
        return found
    finally:
        await consumer.stop()


def wait_until_flushed(deployment: Deployment, limit_s: float = CAUGHT_UP_LIMIT_S) -> None:
    """Until all that is in the log has been flushed and committed, what was sent on to other partitions included."""

    async def wait() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        consumer = AIOKafkaConsumer(bootstrap_servers=deployment.broker)
        await admin.start()
        await consumer.start()
        try:
            partitions = [TopicPartition(deployment.name, at) for at in range(deployment.partitions)]
            deadline = time.monotonic() + limit_s
            while True:
                committed = await admin.list_consumer_group_offsets(deployment.name)
                ends = await consumer.end_offsets(partitions)
                left = {tp.partition: end - getattr(committed.get(tp), "offset", 0) for tp, end in ends.items() if end}
                if not any(left.values()):
                    return
                assert time.monotonic() < deadline, f"not flushed after {limit_s} s: {left}"
                await asyncio.sleep(0.1)
        finally:
            await consumer.stop()
            await admin.close()

    asyncio.run(wait())


def recounts(deployment: Deployment) -> list[Recount]:
    """The recount of each partition, as its log is now."""
    log = asyncio.run(read_topic(deployment.broker, deployment.name))
    found = []
    for partition, records in sorted(log.items()):
        recount = Recount(partition, len(log))
        recount.read((record.offset, record.timestamp, record.value) for record in records)
        found.append(recount)
    return found


def is_quiet(recount: Recount, since_ms: int, until_ms: int) -> bool:
    """Whether no counter of any user changes while the partition's clock moves between the two and no event comes."""
    return all(
        recount.answer(user, 0, since_ms, ALL_FIELDS, since_ms)
        == recount.answer(user, 0, since_ms, ALL_FIELDS, until_ms)
        and recount.suspected(user, since_ms) == recount.suspected(user, until_ms)
        for user in recount.users()
    )


def settled_recounts(deployment: Deployment) -> list[Recount]:
    """Wait until the log is flushed, move its time to where waiting changes no counter, and recount it.

    A worker's clock goes on after the last event, so a call that has been silent for almost 2 or 4 hours becomes
    suspected or reaped while a test asks. Where such a limit is near, one event that belongs to no call moves the
    watermark of all partitions past the limit.
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
    Feed(deployment, [Published(at_ms, None, encoded(restarted))], rate=0).wait()
    wait_until_flushed(deployment)
    counted = recounts(deployment)
    assert all(one.watermark == at_ms for one in counted)
    return counted


def noon_zone() -> str:
    """A zone in which it is about noon: no test's today ends while it runs."""
    west = datetime.now(UTC).hour - 12
    return f"Etc/GMT{west:+d}"


def add_users(deployment: Deployment, users: Iterable[str]) -> None:
    """Let these users ask, with TOKEN."""

    async def add() -> None:
        accounts = Accounts.connect(deployment.redis_url)
        try:
            known = {one.user_id for one in await accounts.list_users()}
            for user in users:
                if user not in known:
                    await accounts.add_user(user, noon_zone(), TOKEN)
                else:
                    await accounts.new_token(user, TOKEN)
        finally:
            await accounts.close()

    asyncio.run(add())


def ask_any(workers: Sequence[Worker], user: str, begin_ms: int, end_ms: int) -> Reply:
    """The answer of the worker that has the user's partition, complete and not behind, within a time limit."""
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
    logs = "\n".join(worker.last_words() for worker in workers)
    raise AssertionError(f"{user}: no complete answer in {CAUGHT_UP_LIMIT_S} s; the last: {reply}\n{logs}")


def differences(
    workers: Sequence[Worker], counted: Sequence[Recount], begin_ms: int, end_ms: int
) -> tuple[int, list[str]]:
    """(how many counters were compared, what differs) over all users, all keys and all fields of a range.

    ``counted``: of ``settled_recounts``, so that the answers do not depend on when they are asked for.
    """
    compared, wrong = 0, []
    for recount in counted:
        for user in recount.users():
            expected = recount.answer(user, begin_ms, end_ms, ALL_FIELDS)
            reply = ask_any(workers, user, begin_ms, end_ms)
            asked_after_ms = recount.clock_at(int(time.time() * 1000)) - recount.watermark
            assert asked_after_ms <= ASKED_WITHIN_MS, f"asked {asked_after_ms} ms after the log's last event"
            told: Mapping[str, Any] = reply.json["message"]
            if list(told) != list(expected):
                wrong.append(f"{user}: keys {list(told)}, expected {list(expected)}")
            for key, value in expected.items():
                compared += 1
                if told.get(key) != value:
                    wrong.append(f"{user} {key}: {told.get(key)}, recounted {value}")
            suspected = int(reply.headers["X-Ecounters-Suspected"])
            if suspected != recount.suspected(user):
                wrong.append(f"{user} suspected: {suspected}, recounted {recount.suspected(user)}")
    return compared, wrong


def dead_letters(deployment: Deployment) -> list[DeadLetter]:
    """What the dead-letter topic holds, in the order of the places that it came from."""
    found = []
    for records in asyncio.run(read_topic(deployment.broker, f"{deployment.name}.dlq", "read_committed")).values():
        for record in records:
            headers = {name: value.decode() for name, value in record.headers}
            assert headers["topic"] == deployment.name
            where = int(headers["partition"]), int(headers["offset"])
            found.append((*where, headers["reason"], headers["field"], record.value))
    return sorted(found, key=lambda letter: letter[:2])


def refused(deployment: Deployment, counted: Sequence[Recount]) -> list[DeadLetter]:
    """What the dead-letter topic should hold."""
    log = asyncio.run(read_topic(deployment.broker, deployment.name))
    values = {(p, record.offset): record.value for p, records in log.items() for record in records}
    return sorted(
        (recount.partition, offset, reason, name, values[recount.partition, offset])
        for recount in counted
        for offset, reason, name in recount.refused
    )
