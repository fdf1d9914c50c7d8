"""What a partition's state notes when Kafka has deleted events that it has not counted."""

from __future__ import annotations

from ecounters.changelog.holes import with_hole
from ecounters.partition.state import PartitionState


def lose_to(state: PartitionState, offset: int) -> None:
    """Skip to ``offset``, because Kafka has deleted all events before it, and note the hole.

    Looks at all calls of the partition. Hold no iterator over them.
    """
    starts = (
        call.start for user in state.users.values() for call in user.calls.values() if call.start and not call.ended
    )
    begin = min(state.watermark, min(starts, default=state.watermark))
    state.holes = with_hole(state.holes, begin, state.watermark - state.policy.keep_days_ms)
    state.skip_to(offset)
