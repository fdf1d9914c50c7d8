"""What a state is of: the events topic whose events it has counted.

Offsets and users' partitions mean something in one topic only. So each position in a changelog has a ``Binding``, and a
worker that finds another topic, cluster or number of partitions than the binding names must not go on with the state.

A state can be moved to other partitions or to another topic (``ecounters state import``). Its binding then also has the
``history``: the topics of before, and up to which offset each partition of them was counted. The first is the oldest::

    history    EventsLog(4 partitions), counted up to 100, 90, 120, 80        the events before the move
    log        EventsLog(8 partitions), from 100, 90, 120, 80, 0, 0, 0, 0 on  the events since
"""

from __future__ import annotations

import msgspec


class EventsLog(msgspec.Struct, array_like=True, frozen=True):
    """A topic of events as it was when a state was bound to it.

    ``cluster``: Kafka's id of the cluster; the embedded broker always tells the same one. ``topic``: the topic's name.
    ``topic_id``: its id as 32 hexadecimal digits; a topic that is made anew under the same name gets another one. "" if
    the broker tells none, as the embedded one. ``partitions``: how many it has.
    """

    cluster: str
    topic: str
    topic_id: str
    partitions: int


class Counted(msgspec.Struct, array_like=True, frozen=True):
    """A topic that was counted before the state was moved.

    ``ends``: for each partition, the first offset that was not counted under this number of partitions. ``begins``: for
    each partition of the topic that was counted next, the offset at which that began; () if that topic is a mirror with
    the same offsets, and counting went on at ``ends``.
    """

    log: EventsLog
    ends: tuple[int, ...]
    begins: tuple[int, ...] = ()


class Binding(msgspec.Struct, array_like=True, frozen=True):
    """What a state is of, and where it comes from.

    ``log``: the topic whose offsets the position counts. ``release``: the version of the program that wrote the
    position last. ``history``: the topics of before, oldest first. ``import_id``: names the import that made the state,
    which is the same in all partitions; "" if none did.
    """

    log: EventsLog
    release: str
    history: tuple[Counted, ...] = ()
    import_id: str = ""
