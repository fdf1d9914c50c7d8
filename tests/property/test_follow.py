"""A state that follows a changelog equals one that is restored from it, after each flush, and goes on like it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.calls import join
from ecounters.changelog.entries import Entry
from ecounters.partition.following import FollowedState
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.windows import cell
from tests.support.builders import ALL_FIELDS, LogRecord, answer_of, restored
from tests.support.log_strategies import PARTITIONS, USERS, Step, chaotic
from tests.support.state_steps import FAR_MS, compacted, do, image, level


def take(steps: Iterator[None]) -> None:
    """Take all steps."""
    for _ in steps:
        pass


def shown(state: PartitionState) -> list[object]:
    """What replies show of a state."""
    return [answer_of(state, user, (0, 2 * FAR_MS), ALL_FIELDS) for user in USERS]


@settings(max_examples=120)
@given(
    chaotic(), st.integers(0, 60), st.integers(1, 4), st.booleans(), st.sets(st.integers(0, 60), max_size=3),
    st.integers(0, 300),
)  # fmt: skip
def test_a_followed_state_equals_a_restored_one(
    steps: list[Step], crash: int, every: int, begin_late: bool, restarts: set[int], again: int
) -> None:
    """Flushes are followed one by one, replies are made in between, and the states are equal and stay so.

    The owner is restored at times, and the last entries are followed twice. Calls are large, and cells are split, from
    the second item and the third input on.
    """
    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(join, "SMALL_MAX", 1)
        limits.setattr(cell, "INPUTS_MAX", 2)
        check(steps, crash, every, begin_late, restarts, again)


def check(steps: list[Step], crash: int, every: int, begin_late: bool, restarts: set[int], again: int) -> None:
    """Assert what the test says."""
    for partition in range(PARTITIONS):
        own = [step for step in steps if step.partition == partition]
        owner = PartitionState(partition, PARTITIONS, Policy())
        followed = FollowedState(partition, PARTITIONS, Policy())
        log: list[LogRecord] = []
        entries: list[Entry] = []
        read = 0
        for at, step in enumerate(own[:crash]):
            if at in restarts and entries:
                entries += owner.take_changes()
                owner = restored(entries, partition, PARTITIONS)
            written = len(entries)
            do(owner, step, log, entries)
            if at % every == 0:
                entries += owner.take_changes()
            if len(entries) > written and not (begin_late and at < crash // 2):
                take(followed.applying(entries[read:] if read else compacted(entries)))
                read = len(entries)
                followed.check()
                assert shown(followed.state) == shown(owner)
        entries += owner.take_changes()
        take(followed.applying(entries[read:]))
        take(followed.applying(entries[again:]))  # a takeover that has failed reads on from where it began
        other = restored(entries, partition, PARTITIONS)
        take(followed.finishing())
        workers = [other, followed.state]
        for worker in workers:
            worker.advance(0, at_end=False)
        assert {user: image(other)[user] for user in USERS} == {user: image(followed.state)[user] for user in USERS}
        assert set(other.users) == set(followed.state.users)
        logs = [list(log), list(log)]
        for at, step in enumerate(own[crash:]):
            for worker, its_log in zip(workers, logs, strict=True):
                do(worker, step, its_log, [])
            if at % 7 == 0:
                level(workers)
        level(workers)
        assert sorted(map(repr, other.take_changes())) == sorted(map(repr, followed.state.take_changes()))
