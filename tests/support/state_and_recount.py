"""One partition counted twice: by the incremental state and by a recount of its log."""

from __future__ import annotations

from typing import Any, Final

from ecounters.partition.policy import Policy
from ecounters.partition.records import MISROUTED
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.recount.call import Limits
from ecounters.recount.recount import Recount
from tests.support.builders import ALL_FIELDS, LogRecord, answer_of, restored
from tests.support.log_strategies import USERS

EVERYTHING: Final = (0, 4_000_000_000_000)
FAR_MS: Final = 4_000_000_000_000
"""A wall clock that refuses no event: whether one is ahead of time goes by the log alone, as in the recount."""

Span = tuple[int, int]


class StateAndRecount:
    """The state and the recount of one partition, which both read the same log.

    ``log``: all records. ``refused``: (offset, reason, field) of what the state did not count. ``entries``: the
    changelog, as far as it was saved.
    """

    def __init__(
        self, partition: int = 0, partitions: int = 1, *, policy: Policy | None = None, limits: Limits | None = None
    ) -> None:
        self._policy = policy or Policy()
        self.state = PartitionState(partition, partitions, self._policy)
        self.recount = Recount(partition, partitions, limits)
        self.log: list[LogRecord] = []
        self.refused: list[tuple[int, str, str]] = []
        self.entries: list[tuple[bytes, bytes | None]] = []

    def take(self, *records: LogRecord) -> None:
        """Apply records: the state as one batch, the recount from three records earlier, as after a takeover."""
        begin = len(self.log)
        self.log += records
        self.recount.read((one.offset, one.timestamp, one.value) for one in self.log[max(0, begin - 3) :])
        found = self.state.apply(records, FAR_MS)
        self.refused += [(one.record.offset, one.reason, one.field) for one in found]

    def crash(self) -> None:
        """Save the state's changes and restore the state from all saved entries."""
        self.entries += self.state.take_changes()
        self.state = restored(self.entries, self.state.partition, self.state.partitions, self._policy)

    def differences(self, *spans: Span, users: tuple[str, ...] = USERS, wall_ms: int | None = None) -> list[str]:
        """Lines that say where both disagree after time has passed.

        ``wall_ms``: the wall clock at the log's end; None: time passes by the watermark only.
        """
        state, again = self.state, self.recount
        state.advance(wall_ms or 0, at_end=wall_ms is not None)
        clock = again.watermark if wall_ms is None else again.clock_at(wall_ms)
        pairs: dict[str, tuple[Any, Any]] = {
            "watermark": (state.watermark, again.watermark),
            "clock": (state.clock, clock),
            "misrouted": ([at for at, reason, _ in self.refused if reason == MISROUTED], again.misrouted),
            "refused": ([one for one in self.refused if one[1] != MISROUTED], again.refused),
        }
        for name in users:
            user = state.users.get(name) or User(name)
            kept = sorted(c.id for c in user.calls.values() if state.timeouts.drop_time(c) > state.watermark)
            pairs[f"{name} suspected"] = user.suspected, again.suspected(name, clock)
            pairs[f"{name} kept"] = kept, again.kept(name)
            for span in spans or (EVERYTHING,):
                counted, recounted = answer_of(state, name, span), again.answer(name, *span, ALL_FIELDS, clock)
                # As text: the order of keys, and 1 or 1.0, are part of a reply as well.
                for at, (one, other) in enumerate(zip(counted.items(), recounted.items(), strict=True)):
                    pairs[f"{name} {span} {at}"] = f"{one}", f"{other}"
        return [f"{what}: {ours} is recounted as {theirs}" for what, (ours, theirs) in pairs.items() if ours != theirs]
