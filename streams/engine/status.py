"""``PartitionStatus``: the data of one owned partition, which the classes of the engine share. It decides nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from ecounters.partition.state import PartitionState


class Waiting(NamedTuple):
    """Why a partition waits for an operator.

    ``why``: for clients, without names of topics. ``detail``: for the operator: where, what, and what helps.
    """

    why: str
    detail: str


class MustWait(Exception):
    """The partition cannot go on until an operator has acted. ``waiting``: why."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.waiting = Waiting(why, detail)


@dataclass(slots=True)
class PartitionStatus:
    """The data of one partition while this worker owns it. Only ``state`` is saved, in the changelog.

    | field            | meaning                                                              | written by             |
    |------------------|----------------------------------------------------------------------|------------------------|
    | partition        | the partition of the topic of events                                 | nobody, once made      |
    | state            | the counters; None before the first restore and after the release    | restore, release       |
    | live             | whether events are applied and flushed; False before and during a    | restore, release,      |
    |                  | restore, and after a failed flush or the release                     | a failed flush         |
    | waiting          | why the partition waits for an operator; None if it does not         | OwnedPartition, flush  |
    | unbound          | the changelog does not say yet of which topic the state is           | restore, flush         |
    | frozen           | True from the last flush of a revoke on: no event is applied, time   | table                  |
    |                  | does not pass, and nothing more is flushed                           |                        |
    | answering        | replies are made from the state: who had the partition before does   | restore, release       |
    |                  | not answer any more                                                  |                        |
    | kept_letters     | how many uncounted records wait because they cannot be sent away:    | flush                  |
    |                  | dead letters, misrouted events; nothing is saved meanwhile           |                        |
    | following        | False: the consumer does not read from state.position on yet, so     | feed; the table when a |
    |                  | ``feed.follow`` is due before the next flush                         | batch was dropped      |
    | flushed_offset   | the changelog holds the effect of all events before this offset      | restore, flush         |
    | committed_offset | the offset that this worker last committed to the consumer group;    | restore, table         |
    |                  | -1: none since the restore                                           |                        |
    | last_record_ms   | Kafka's timestamp of the last record read, in ms; the wall clock     | restore, apply,        |
    |                  | while the state is at the log's end                                  | advance of the clock   |
    | commit_due_s     | since when not all that is counted is committed to the consumer      | restore, flush, table  |
    |                  | group, in monotonic s: when what was committed last was collected    |                        |
    | flushed_s        | when the changes of the last flush were collected, in monotonic s    | restore, flush         |
    | unowned_s        | when the rebalance began since which no event is read, in monotonic  | table, feed            |
    |                  | s; None while events are read                                        |                        |
    | entries          | changelog entries that the last restore has read or were written     | restore, flush         |
    |                  | since                                                                |                        |
    | state_lock       | held while several steps change or read ``state`` (see below)        | -                      |

    ``state_lock`` is held while a batch is applied, while the clock advances, while one user's windows are rolled up,
    while changes are collected for a flush, while ``state.position`` is set back, and while a large reply or the
    metrics of an account copy what they count. The holder's steps have awaits between them: without the lock a flush
    could save half a batch. Small replies read ``state`` without the lock, and must not await while they do; what they
    do before, which is to settle the user's calls, may be done at any await of a holder. A restore
    or the release replaces ``state`` without the lock: tasks that apply a batch compare ``status.state`` with their own
    state at each step, and stop. Once all that held the lock then have let it go, the old state is emptied, see
    ``discarding``. So who gets the lock must compare: a state that is not ``status.state`` any more may have lost its
    counters.
    """

    partition: int
    state: PartitionState | None = None
    live: bool = False
    waiting: Waiting | None = None
    frozen: bool = False
    answering: bool = False
    kept_letters: int = 0
    unbound: bool = False
    following: bool = True
    flushed_offset: int = 0
    committed_offset: int = -1
    last_record_ms: int = 0
    commit_due_s: float = 0.0
    flushed_s: float = 0.0
    unowned_s: float | None = None
    entries: int = 0
    state_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """Set ``state`` and ``waiting`` to None, and what depends on the state to False: the partition is not this
        worker's any more."""
        self.state, self.waiting, self.kept_letters = None, None, 0
        self.live = self.answering = False
