"""A process that publishes good events at a steady rate, or all attacks by events, each again and again.

The job: what ("good" or "attacks"), broker, topic, partitions (of good events),
seconds. The result: by how many seconds a lot was late at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import count
from typing import Final

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from ecounters.simulator.world import Plan, simulate
from tests.support.attacks import batches, history, large_calls, odd_calls
from tests.support.attacks.event_attack import ATTACKED, BEFORE_MS, EVENT_ATTACKS, PARTITIONS, EventAttack, Round
from tests.support.attacks.helper import Job, serve
from tests.support.attacks.lots import Message, made, send, started_producers, stopped
from tests.support.attacks.transactions import TRANSACTIONS_USER, unfinished_calls
from tests.support.attacks.worker_clock import WorkerClock

MAKE_ATTACKS: Final = (batches, large_calls, odd_calls)
"""Importing these declares EVENT_ATTACKS."""
GOOD_PER_S: Final = 1_000
GOOD_USERS: Final = 12
PRELUDE_MS: Final = 20_000
"""Good calls began so long before, so that as many end as begin."""
CALLS_PER_S: Final = 200
"""A call of the simulator has about nine events, and half of the users are of other partitions."""
OPEN_S: Final = 1.0
"""How long a transaction is open. What is behind it in its partition waits for so long."""
BETWEEN_S: Final = 2.0
GOOD_EVERY_S: Final = 0.02
ATTACKS_EVERY_S: Final = 0.1


def good(seconds: float, partitions: Sequence[int]) -> Iterator[Message]:
    """What the simulator tells of the time before, at once, and then GOOD_PER_S a second to these partitions."""
    plan = Plan(int(time.time() * 1000) - PRELUDE_MS, users=GOOD_USERS, rate_per_s=CALLS_PER_S, day_shape=False)
    messages, published = simulate(plan), 0
    for message in messages:
        to = partitions if message.user_id is None else [partition_of(message.user_id, PARTITIONS)]
        if to[0] not in partitions:
            continue
        due_s = 0.0
        if message.at_ms >= plan.start_ms + PRELUDE_MS:
            due_s = published / GOOD_PER_S
            published += 1
        if due_s > seconds:
            return
        key = None if message.user_id is None else message.user_id.encode()
        yield from (Message(due_s, partition, key, message.value) for partition in to)


def rounds(attack: EventAttack, seconds: float) -> list[float]:
    """When the rounds of an attack begin: attackers do not wait for one another, so each has a moment of its own."""
    first = EVENT_ATTACKS.index(attack) / len(EVENT_ATTACKS) * min(attack.every_s, 1.0)
    return [first + at * attack.every_s for at in range(int(seconds / attack.every_s))]


def round_after_round(attack: EventAttack, seconds: float, begin_ms: int) -> Iterator[Message]:
    """The messages of all rounds of an attack."""
    for nth, at_s in enumerate(rounds(attack, seconds)):
        yield from attack.made(Round(attack.user, begin_ms + int(at_s * 1000) - BEFORE_MS, f"storm{nth}"), at_s)


def attacks(seconds: float) -> Iterator[Message]:
    """The messages of all attacks, and of very many accounts."""
    begin_ms = int(time.time() * 1000)
    all_rounds = (round_after_round(attack, seconds, begin_ms) for attack in EVENT_ATTACKS)
    new = history.accounts(begin_ms, b"new-")
    accounts = (message._replace(due_s=seconds * at / history.ACCOUNTS) for at, message in enumerate(new))
    return merge(accounts, *all_rounds, key=lambda message: message.due_s)


async def abort_and_die(job: Job, clock: WorkerClock) -> None:
    """Row 5: again and again 20 calls in a transaction, which is open for a second.

    Every other one is aborted. The others end as if their producer had died: with the next producer of the same
    transactional id.
    """
    transactional_id = f"{job['topic']}-dies"
    for nth in count():
        async with AIOKafkaProducer(bootstrap_servers=job["broker"], transactional_id=transactional_id) as producer:
            if clock.now() > job["seconds"]:
                return
            await producer.begin_transaction()
            one = Round(TRANSACTIONS_USER, int(time.time() * 1000) - BEFORE_MS, f"storm{nth}")
            for value in unfinished_calls(one):
                await producer.send(job["topic"], value, key=one.user.encode(), partition=ATTACKED)
            await producer.flush()
            await asyncio.sleep(OPEN_S)
            if nth % 2:
                await producer.abort_transaction()
        await asyncio.sleep(BETWEEN_S)


def _prepare(job: Job) -> Callable[[], Job]:
    """Make the messages and their batches. The result, when it is told to begin, is how late the latest lot was."""
    seconds, runner = job["seconds"], asyncio.Runner()
    is_good = job["what"] == "good"
    messages = good(seconds, job["partitions"]) if is_good else attacks(seconds)
    by = runner.run(started_producers(job["broker"]))
    lots = list(made(by, messages, GOOD_EVERY_S if is_good else ATTACKS_EVERY_S))
    before = sum(lot.due_s == 0.0 for lot in lots) if is_good else 0
    runner.run(send(job["topic"], lots[:before]))

    async def go() -> float:
        clock = WorkerClock(job["worker"])
        beside = asyncio.create_task(asyncio.sleep(0) if is_good else abort_and_die(job, clock))
        try:
            return await send(job["topic"], lots[before:], clock)
        finally:
            await beside
            await stopped(by)

    def begin() -> Job:
        with runner:
            return {"late_s": runner.run(go())}

    return begin


if __name__ == "__main__":
    serve(_prepare)
