"""From which offset on each partition of the topic of events is read after an import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ecounters.changelog.binding import EventsLog
from ecounters.errors import Stop
from streams.tools.state.target import Offsets, is_same_topic

FROM_START: Final = "--from-start"
FROM_END: Final = "--from-end"
AS_IS: Final = "--as-is"


def beginnings(old: EventsLog, ends: Sequence[int], new: EventsLog, offsets: Offsets, choice: str) -> tuple[int, ...]:
    """For each partition of ``new``, the offset at which counting begins.

    ``old``: the topic that the state has counted, up to ``ends``. ``offsets``: those that ``new`` has. ``choice``: one
    of the options, or "". In the same topic counting goes on where it ended, new partitions are read from their
    start. Raises Stop if a choice is missing, if it does not fit, or if the topic has not the offsets that it needs.
    """
    if is_same_topic(old, new):
        if choice:
            raise Stop(f"{choice} is for another topic: {new.topic} is the one that the state has counted")
        if new.partitions < old.partitions:
            raise Stop(f"{new.topic} has {new.partitions} partitions, and the state is of {old.partitions}")
        begins = (*ends, *(0 for _ in range(old.partitions, new.partitions)))
    elif choice == FROM_START:
        return (0,) * new.partitions
    elif choice == FROM_END:
        return tuple(offsets.ends[at] for at in range(new.partitions))
    elif choice == AS_IS:
        if new.partitions != old.partitions:
            raise Stop(f"{AS_IS} needs {old.partitions} partitions as before: {new.topic} has {new.partitions}")
        begins = tuple(ends)
    else:
        raise Stop(
            f"the state has counted topic {old.topic} (id {old.topic_id or '-'}) of cluster {old.cluster or '-'}, and "
            f"{new.topic} is another one (id {new.topic_id or '-'}, cluster {new.cluster or '-'}). Say from where "
            f"on to read it: {FROM_START} (it has only events that were not counted), {FROM_END} (all that it has were "
            f"counted) or {AS_IS} (it is a mirror with the same offsets)"
        )
    for partition, begin in enumerate(begins):
        if begin > offsets.ends[partition]:
            raise Stop(
                f"{new.topic}, partition {partition} ends at offset {offsets.ends[partition]}, and the state has "
                f"counted up to {begin}: it is not the topic that the state is of, or its mirror is not complete yet"
            )
    return begins
