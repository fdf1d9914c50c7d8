"""Whether the states in a changelog are of the topic of events that a worker is about to read.

``misfit_of`` looks at the binding of one state, ``misfit`` at the saved positions of all partitions. Both return one
line for the operator: what is there, what was expected, and what helps. "" means that everything fits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import FORMAT, format_of, read_position
from ecounters.changelog.saved import Position

MOVE: Final = "`ecounters state export FILE` and `ecounters state import FILE` move the state there"
"""What helps where the topic is another one on purpose."""


def misfit_of(binding: Binding, log: EventsLog) -> str:
    """Why a state with this binding must not go on with ``log``; "" if it may.

    Ids are compared only where both are known: the embedded broker tells no topic ids.
    """
    of = binding.log
    if of.cluster and log.cluster and of.cluster != log.cluster:
        return (
            f"the saved state is of topic {of.topic} on the cluster {of.cluster}, but ECOUNTERS_BROKER leads to the "
            f"cluster {log.cluster}; correct ECOUNTERS_BROKER, or {MOVE}"
        )
    if of.topic != log.topic:
        return (
            f"the saved state is of topic {of.topic}, but ECOUNTERS_TOPIC is {log.topic}; correct one of "
            f"ECOUNTERS_TOPIC and ECOUNTERS_APP_ID, or {MOVE}"
        )
    if of.topic_id and log.topic_id and of.topic_id != log.topic_id:
        return (
            f"the saved state is of the topic {of.topic} with the id {of.topic_id}, but the topic of that name now has "
            f"the id {log.topic_id}: it was deleted and made anew; {MOVE}, or a new ECOUNTERS_APP_ID counts anew"
        )
    if of.partitions != log.partitions:
        return (
            f"the saved state is of {of.partitions} partitions, but topic {log.topic} has {log.partitions}, so users "
            f"have other partitions now; with all workers stopped, `ecounters topics --grow {log.partitions}` moves "
            "what was counted, or `ecounters state export FILE` and `ecounters state import FILE` do"
        )
    return ""


def rebound(saved: Binding, now: Binding) -> Binding:
    """The binding of a restored state, which fits: that of ``now``, with the history and the import of ``saved``."""
    return msgspec.structs.replace(now, history=saved.history, import_id=saved.import_id)


def misfit(saved: Mapping[int, bytes], log: EventsLog, changelog: str, away: Collection[int] = ()) -> str:
    """Why no worker must go on with these saved positions and ``log``; "" if it may.

    ``saved``: partition -> the encoded position. Partitions without one are left out: they have counted nothing, or
    their import is not done. ``changelog``: the name of the topic that has them. A position that cannot be read is
    passed over: it concerns its own partition alone, and is noticed at the restore. So are those of the partitions
    ``away``: their brokers are, or what they hold is damaged.
    """
    positions: dict[int, Position | None] = {}
    for partition, value in sorted(saved.items()):
        try:
            if (written := format_of(value)) > FORMAT:
                return (
                    f"partition {partition} of {changelog} has format {written}, written by a newer release; this one "
                    f"reads formats 1 to {FORMAT}: run the newer release, or go back to a file that `ecounters state "
                    "export` of this release has written"
                )
            positions[partition] = read_position(value)
        except ValueError:
            positions[partition] = None
    bindings = {
        partition: position.binding
        for partition, position in positions.items()
        if position is not None and position.binding is not None
    }
    unread = {partition for partition, position in positions.items() if position is None} | set(away)
    if undone := not_imported(bindings, log.partitions, unread):
        return (
            f"an import into {changelog} is not done: partition{'s' if len(undone) > 1 else ''} "
            f"{', '.join(map(str, undone))} of {log.partitions} lack it; run `ecounters state import FILE` again"
        )
    return next((why for binding in bindings.values() if (why := misfit_of(binding, log))), "")


def not_imported(bindings: Mapping[int, Binding | None], partitions: int, unread: Collection[int] = ()) -> list[int]:
    """The partitions that have not got the import that others have; [] if there was none, or it is done.

    ``bindings``: partition -> what its state is bound to, of those that have a position. ``partitions``: how many there
    are. ``unread``: those of which nobody knows.
    """
    ids = [binding.import_id for binding in bindings.values() if binding is not None and binding.import_id]
    if not ids:
        return []
    latest = max(sorted(set(ids)), key=ids.count)
    return [at for at in range(partitions) if at not in unread and _import_of(bindings.get(at)) != latest]


def _import_of(binding: Binding | None) -> str:
    return "" if binding is None else binding.import_id
