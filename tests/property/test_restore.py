"""A state that is restored from its changelog equals the saved one, and goes on like it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.changelog.entries import Entry
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from tests.support.builders import LogRecord, restored
from tests.support.log_strategies import PARTITIONS, Step, chaotic
from tests.support.state_steps import FAR_MS, assert_same, compacted, do, image, level, newest


@settings(max_examples=120)
@given(chaotic(), st.integers(0, 60), st.integers(0, 10**6))
def test_a_restored_state_equals_the_saved_one_and_continues_alike(steps: list[Step], crash: int, wall: int) -> None:
    """All entries, the last of each key, and those without tombstones restore one state, which goes on alike."""
    for partition in range(PARTITIONS):
        own = [step for step in steps if step.partition == partition]
        state = PartitionState(partition, PARTITIONS, Policy())
        log: list[LogRecord] = []
        entries: list[Entry] = []
        for step in own[:crash]:
            do(state, step, log, entries)
        entries += state.take_changes()
        kept = compacted(entries)
        workers = [
            state,
            *(restored(e, partition, PARTITIONS) for e in (entries, kept, [e for e in kept if e[1] is not None])),
        ]
        logs = [log, *(list(log) for _ in workers[1:])]
        first = newest(log)
        for worker in workers:
            worker.advance(first + wall * 40, at_end=wall % 2 > 0)
        assert_same(workers)
        for at, step in enumerate(own[crash:]):
            for worker, its_log in zip(workers, logs, strict=True):
                do(worker, step, its_log, [])
            if at % 7 == 0:
                level(workers)
        level(workers)


@settings(max_examples=80)
@given(chaotic(), st.integers(0, 60), st.integers(0, 60))
def test_redelivery_after_a_restore_changes_no_counter(steps: list[Step], crash: int, back: int) -> None:
    """A worker that takes over and reads any earlier stretch of the log again keeps its counters."""
    for partition in range(PARTITIONS):
        own = [step for step in steps if step.partition == partition]
        state = PartitionState(partition, PARTITIONS, Policy())
        log: list[LogRecord] = []
        entries: list[Entry] = []
        for step in own[:crash]:
            do(state, step, log, entries)
        entries += state.take_changes()
        worker = restored(entries, partition, PARTITIONS)
        worker.advance(0, at_end=False)
        before = image(worker)
        assert worker.apply(log[back:], FAR_MS) == []
        worker.advance(0, at_end=False)
        assert image(worker) == before
        whole, begin = list(log), min(back, len(log))
        for step in own[crash:]:
            if step.what != "roll":  # the other worker does not roll up meanwhile
                do(state, step, log, None)
            whole += [step.record] if step.record is not None else []
        worker.apply(whole[begin:], FAR_MS)
        level([state, worker])


@settings(max_examples=60)
@given(chaotic(), st.lists(st.integers(1, 9), min_size=60, max_size=60))
def test_batch_sizes_and_queries_change_no_counter(steps: list[Step], sizes: list[int]) -> None:
    """One event at a time with queries and flushes in between gives the counters of large batches."""
    for partition in range(PARTITIONS):
        own = [step for step in steps if step.partition == partition]
        state = PartitionState(partition, PARTITIONS, Policy())
        log: list[LogRecord] = []
        entries: list[Entry] = []
        for step in own:
            if step.what != "roll":
                do(state, step, log, entries)
        batched, begin = PartitionState(partition, PARTITIONS, Policy()), 0
        for size in sizes:
            end = min(begin + size, len(log))
            batched.apply(log[begin:end], FAR_MS)
            begin = end
        batched.apply(log[begin:], FAR_MS)
        batched.advance(0, at_end=False)
        level([state, batched])
