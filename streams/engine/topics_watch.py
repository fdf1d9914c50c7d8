"""``TopicsWatch``: notices that topics are deleted, made anew or grown while a worker uses them.

A consumer and a producer of Kafka know topics by name. Where a topic is made anew, they go on with it: events of the
new topic would be counted onto the state of the old one, and a new changelog would hold a part of the state alone. So
the broker is asked for the topics' ids every LOOK_S, and also before each flush::

    events are read ... | changes are collected |- request sent - reply: the ids are as at the start -| transaction
                                                                                                         ▲
        all that is written was read before the request, so it is of the topics that the reply is of ────┘

What remains: the broker that replies may know of a new topic some ms later than the broker that leads its partitions.

=========  =========================================================================================================
change     what happens
=========  =========================================================================================================
deleted,   partitions stop: nothing is read, and what was not flushed is dropped (if the changelog is still there).
made anew  Replies go on, and say that they are incomplete.
grown      partitions go on. Replies for users whose partition is another one under the new number say that they are
           incomplete: some of their events go to partitions that nobody counts.
=========  =========================================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aiokafka.errors import KafkaError

from ecounters.changelog.binding import EventsLog
from ecounters.events.partitioner import partition_of
from streams.basics.repeated import LogAgain
from streams.basics.tasks import end_tasks
from streams.basics.text import named
from streams.kafka.metadata import ClusterFacts
from streams.metrics.catalogue import Metrics

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""The pause between two looks while nothing is flushed."""
SPACING_S: Final = 0.1
"""The least time between two looks. Flushes of all partitions share them, so a worker sends ten a second at most."""
REQUEST_LIMIT_S: Final = 5.0
"""How long one look may take."""
CONFIRM_LIMIT_S: Final = 15.0
"""How long a flush waits for a look that succeeds. A flush waits as long for its transaction."""
MOVE: Final = "`ecounters state export FILE` and `ecounters state import FILE` move the state to another topic"


class Change(NamedTuple):
    """What has become of a topic since the worker's start.

    ``why``: for clients, without names. ``detail``: one line for the operator: what has changed, and what helps.
    ``stops``: whether nothing can be counted any more. ``keeps_changelog``: whether the changelog is as it was.
    ``partitions``: how many partitions the topic of events has now.
    """

    why: str
    detail: str
    stops: bool
    keeps_changelog: bool
    partitions: int


class Topics(NamedTuple):
    """The topics of a worker as they were at its start: the topic of events, and the changelog's name and id."""

    log: EventsLog
    changelog: str
    changelog_id: str

    def change(self, facts: ClusterFacts) -> Change | None:
        """What has changed by what a broker says now; None if nothing has. Unknown ids are not compared."""
        events, changelog = facts.topics.get(self.log.topic), facts.topics.get(self.changelog)
        cluster, topic = self.log.cluster, self.log.topic
        partitions = self.log.partitions
        what = ""
        if cluster and facts.cluster_id and cluster != facts.cluster_id:
            what = f"the brokers are of the cluster {facts.cluster_id}, and were of {cluster}"
        elif changelog is None:
            what = f"topic {self.changelog} was deleted"
        elif self.changelog_id and changelog.topic_id and changelog.topic_id != self.changelog_id:
            what = f"topic {self.changelog} was deleted and made anew"
        if what:
            helps = "put it back, or stop the workers and `ecounters state import FILE` a copy of the state"
            detail = f"{what}: nothing is counted any more; {helps}"
            return Change("the saved counters are gone", detail, True, False, partitions)
        if events is None:
            what = f"topic {topic} was deleted"
        elif self.log.topic_id and events.topic_id and events.topic_id != self.log.topic_id:
            what = f"topic {topic} was deleted and made anew"
        elif events.partitions < partitions:
            what = f"topic {topic} has {events.partitions} partitions, and had {partitions}: it was made anew"
        if what or events is None:
            detail = f"{what}: nothing is counted any more; stop the workers, and {MOVE}"
            return Change("the topic of events is gone", detail, True, True, partitions)
        if events.partitions == partitions:
            return None
        detail = (
            f"topic {topic} has {events.partitions} partitions now, and the state is of {partitions}: events in "
            f"partitions {partitions} to {events.partitions - 1} are not counted; stop the workers, and "
            f"`ecounters topics --grow {events.partitions}` moves the state, and counts them"
        )
        return Change("the topic of events has more partitions", detail, False, True, events.partitions)


class TopicsWatch:
    """Looks at a worker's topics. ``ask``: asks a broker for them. ``fail``: ends the worker by an unexpected error.

    ``change``: what the last look has found; None while all is as at the start, and again if a change was undone.
    """

    def __init__(
        self,
        topics: Topics,
        ask: Callable[[], Awaitable[ClusterFacts]],
        fail: Callable[[BaseException], Awaitable[None]],
        metrics: Metrics,
        spacing_s: float = SPACING_S,
    ) -> None:
        self.change: Change | None = None
        self._topics = topics
        self._ask = ask
        self._fail = fail
        self._metrics = metrics
        self._spacing_s = spacing_s
        self._asked_s = self._looked_s = 0.0  # monotonic: when the last request was sent, and the last with a reply
        self._look: asyncio.Task[None] | None = None
        self._periodic: asyncio.Task[None] | None = None
        self._log_failures: dict[type[Exception], LogAgain] = {}

    @property
    def stopped(self) -> Change | None:
        """The change for which nothing can be counted; None if there is none."""
        return self.change if self.change is not None and self.change.stops else None

    def concerns(self, user_id: str) -> bool:
        """Whether events of this user may go where nobody counts them."""
        change = self.change
        if change is None:
            return False
        before = self._topics.log.partitions
        return change.stops or partition_of(user_id, change.partitions) != partition_of(user_id, before)

    def start(self) -> None:
        """Look every LOOK_S from now on, in a task."""
        self._periodic = asyncio.create_task(self._look_periodically(), name="topics watch")

    async def stop(self) -> None:
        """End the task, and a look that is under way."""
        await end_tasks(*(task for task in (self._periodic, self._look) if task is not None))

    async def confirm(self) -> bool:
        """Ask a broker anew, and return whether all that was read until now may be written.

        Looks are shared: a look that begins after this call is enough. While the broker is away this tries for
        CONFIRM_LIMIT_S, and then returns False.
        """
        since = time.monotonic()
        try:
            async with asyncio.timeout(CONFIRM_LIMIT_S):
                while self._looked_s < since:
                    if self._look is None or self._look.done():
                        self._look = asyncio.create_task(self._look_once(), name="topics look")
                    await asyncio.shield(self._look)
        except TimeoutError:
            return False
        return self.stopped is None

    async def _look_periodically(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.confirm()
            except Exception as error:
                log.exception("the topics cannot be watched: this must not happen")
                await self._fail(error)
                return

    async def _look_once(self) -> None:
        """One look, at least ``spacing_s`` after the last. Logs each kind of failure as often as ``LogAgain`` says."""
        await asyncio.sleep(max(0.0, self._asked_s + self._spacing_s - time.monotonic()))
        self._asked_s = sent_s = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                facts = await self._ask()
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            if self._log_failures.setdefault(type(error), LogAgain()).is_due():
                log.warning("the topics cannot be looked at now: %s", named(error))
            return
        self._log_failures.clear()
        self._note(self._topics.change(facts))
        self._looked_s = sent_s

    def _note(self, change: Change | None) -> None:
        if change != self.change:
            if change is not None:
                log.error("%s", change.detail)
            else:
                log.info("the topics are as they were at the start again")
        self.change = change
        self._metrics.topics_changed.set(0 if change is None else 1)
