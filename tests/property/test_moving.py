"""States and recounts that are moved to another number of partitions in the middle of a log."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.changelog.entries import POSITION, keep_last, position_entry, user_of
from ecounters.changelog.saved import Position
from ecounters.errors import BadEvent
from ecounters.events.partitioner import partition_of
from ecounters.partition.moving import exchanging, position_in, settle_due, times_of
from ecounters.partition.policy import Policy
from ecounters.recount.moving import moved
from ecounters.recount.parse import Bad, parse
from ecounters.windows.calendar import HOUR_MS
from tests.support.builders import LogRecord, restored
from tests.support.log_strategies import PARTITIONS, USERS, Step, chaotic
from tests.support.state_and_recount import EVERYTHING, StateAndRecount


def moved_states(old: list[StateAndRecount], partitions: int) -> list[StateAndRecount]:
    """What an import makes of the saved states, and what the recount makes of its own."""
    saved: list[dict[bytes, bytes]] = []
    for partition, both in enumerate(old):
        both.crash()
        last: dict[bytes, bytes] = {}
        keep_last(last, both.entries)
        settle_due(last, partition, len(old), Policy())
        saved.append(last)
    begins = [position_in(saved[at]).position if at < len(old) else 0 for at in range(partitions)]
    recounts = moved([both.recount for both in old], begins)
    made = [StateAndRecount(partition, partitions) for partition in range(partitions)]
    for old_partitions, new_partitions in exchanging(len(old), partitions):
        watermark, arrival = times_of(position_in(saved[at]) for at in old_partitions)
        for partition in new_partitions:
            entries = [
                entry
                for at in old_partitions
                for entry in saved[at].items()
                if entry[0] != POSITION and partition_of(user_of(entry[0]), partitions) == partition
            ]
            position = Position(2, begins[partition], watermark, arrival)
            made[partition].entries = [*entries, position_entry(position)]
            made[partition].state = restored(made[partition].entries, partition, partitions)
            made[partition].recount = recounts[partition]
    return made


def partition_for(step: Step, partitions: int) -> int:
    """Where a record is written under the new number; one in nine goes to a wrong partition."""
    assert step.record is not None
    try:
        user_id = parse(step.record.value).get("userId")
    except (Bad, BadEvent):
        user_id = None
    own = step.partition if user_id is None else partition_of(user_id, partitions)
    return (own + (step.record.offset % 9 == 8)) % partitions


@settings(max_examples=150)
@given(chaotic(stamped=False), st.integers(1, 6), st.integers(0, 100), st.integers(1, 12))
def test_moved_states_go_on_like_the_moved_recount(steps: list[Step], partitions: int, share: int, often: int) -> None:
    """Counters, refusals and suspected calls equal the recount after a move to any number of partitions."""
    before = len(steps) * share // 100
    old = [StateAndRecount(partition, PARTITIONS) for partition in range(PARTITIONS)]
    for at, step in enumerate(steps[:before]):
        if step.record is not None:
            old[step.partition].take(step.record)
        if at % often == 0:
            old[step.partition].crash()
            old[step.partition].state.advance(0, at_end=False)
    new = moved_states(old, partitions)
    offsets = [both.state.position for both in new]
    assert [line for both in new for line in both.differences()] == []
    for at, step in enumerate(steps[before:]):
        if step.record is None:
            continue
        partition = partition_for(step, partitions)
        new[partition].take(LogRecord(offsets[partition], step.record.timestamp, step.record.value))
        offsets[partition] += 1
        if at % often == 0:
            assert new[partition].differences() == []
    for both in new:
        assert both.differences(EVERYTHING, users=USERS) == []
        assert both.differences(EVERYTHING, wall_ms=both.recount.arrival + often * HOUR_MS) == []
