"""Workers that follow the changelogs of others: they answer for a killed owner, and go on with what they have."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from ecounters.recount.recount import Recount
from streams.basics.slices import Slice, TimeSlices
from streams.kafka.changelog_reader import ChangelogReaders
from streams.kafka.publisher import publisher
from tests.faults.kill_at_step import launcher_at
from tests.support.accounts import TOKEN, add_users
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, first_messages, yesterday_ms
from tests.support.recount_check import DAY_MS, assert_recounted
from tests.support.standbys import wait_followed
from tests.support.topics import read_topic
from tests.support.workers import Deployment, Worker

LIMIT_S = 60.0
NAMES = [f"u{at + 1}" for at in range(USERS)]
TAKEN_OVER = re.compile(r"partition (\d+) was followed here: (\d+) entries were known, (\d+) are read")


class Answer(NamedTuple):
    """What a worker has answered for a user: ``calls`` up to an offset of the user's partition.

    ``generations``: how many assignments the worker had got when it had answered.
    """

    user: str
    partition: int
    offset: int
    calls: int
    complete: str
    generations: int


def ask(worker: Worker) -> list[Answer]:
    """Ask for all users, each until there is an answer. AssertionError after LIMIT_S."""
    begin = yesterday_ms()
    found = []
    for user in NAMES:
        date = {"field": "date", "op": "between", "value": [begin, begin + DAY_MS]}
        deadline = time.monotonic() + LIMIT_S
        while (reply := worker.ask({"userId": user, "token": TOKEN, "filter": [date]})).status != 200:
            assert time.monotonic() < deadline, (reply, worker.log_tail())
        partition, offset = map(int, reply.headers["X-Ecounters-Position"].split(":"))
        calls = reply.json["message"]["TC"]
        found.append(Answer(user, partition, offset, calls, reply.headers["X-Ecounters-Complete"], generations(worker)))
    return found


def generations(worker: Worker) -> int:
    """How many assignments a worker has got."""
    return worker.log.read_text().count("generation ")


def incomplete(answers: Sequence[Answer], generation: int) -> set[int]:
    """The partitions that were answered for incompletely, before the worker had got a further assignment."""
    return {one.partition for one in answers if one.complete == "false" and one.generations == generation}


def taken_over(workers: Sequence[Worker]) -> dict[int, tuple[int, int]]:
    """partition -> (entries that its standby knew when it took the partition over, entries that it read then)."""
    said = "".join(worker.log.read_text() for worker in workers)
    return {int(one[1]): (int(one[2]), int(one[3])) for one in TAKEN_OVER.finditer(said)}


def check_answers(deployment: Deployment, answers: Sequence[Answer]) -> None:
    """Assert that each answer is what a recount of the log has up to the offset that the answer names."""
    log: dict[int, list[Any]] = asyncio.run(read_topic(deployment.broker, deployment.name, "read_committed"))
    recounts = [Recount(partition, deployment.partitions) for partition in range(deployment.partitions)]
    for answer in sorted(answers, key=lambda one: one.offset):
        recount, rows = recounts[answer.partition], log[answer.partition]
        while rows and rows[0].offset < answer.offset:
            row = rows.pop(0)
            recount.read([(row.offset, row.timestamp, row.value)])
        counted = recount.answer(answer.user, yesterday_ms(), yesterday_ms() + DAY_MS, ())
        assert answer.calls == counted["TC"], answer


def test_other_work_goes_on_after_a_fetch_of_a_changelog(deployment: Deployment) -> None:
    """Who reads takes in what came then: a reader that still held its time slice would wait for itself for ever."""
    slices, tp = TimeSlices(10), TopicPartition(deployment.name, 0)

    async def run() -> None:
        fetches = read = 0
        async with publisher(deployment.kafka, deployment.name) as publishing:
            for _ in range(9):
                await publishing.put_to(0, b"key", b"value")
        reading = ChangelogReaders(deployment.kafka).read(tp, slices)
        async with asyncio.timeout(LIMIT_S), aclosing(reading):
            async for entries in reading:
                read += len(entries)
                if not entries:
                    fetches += 1
                    async with Slice(slices):
                        pass
        assert read == 9
        assert fetches

    asyncio.run(run())


@pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker never removes dead members of a group"
)
def test_standbys_answer_for_the_dead_and_go_on_with_what_they_have(deployment: Deployment) -> None:
    """One of three workers dies amid a transaction, and then the next one, under load: before the group has noticed,
    those that are left answer what was flushed; they take over without reading all, and the counters are exact."""
    add_users(deployment, NAMES)
    here = deployment.with_settings(STANDBYS=1, SESSION_TIMEOUT_S=8)
    dying = Worker(here, launcher=launcher_at("sent", 40)).wait_ready()
    others = [Worker(here).wait_ready() for _ in range(2)]
    wait_followed([dying, *others], deployment.partitions)
    feed = LogPublisher(deployment, first_messages(chaos_plan(31), 18_000), rate=1_000)
    last, second = others
    before = {worker: generations(worker) for worker in others}
    dying.process.wait(LIMIT_S)
    answers = ask(last)
    assert incomplete(answers, before[last])
    deadline = time.monotonic() + LIMIT_S
    while any(generations(worker) == before[worker] for worker in others):
        assert time.monotonic() < deadline, last.log_tail()
        time.sleep(0.1)
    for worker in others:
        worker.wait_ready()
    wait_followed(others, deployment.partitions)
    first = taken_over(others)
    before[last] = generations(last)
    second.kill()
    again = ask(last)
    lost = incomplete(again, before[last])
    assert lost
    feed.wait()
    assert_recounted(deployment, [last.wait_ready()])
    moved = taken_over([last])
    assert set(moved) >= lost
    assert all(read < known for known, read in [*first.values(), *moved.values()]), (first, moved)
    check_answers(deployment, answers + again)
