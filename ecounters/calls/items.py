"""What a call can have several of: legs, holds, IVR entries and DTMF inputs, and how an item is named in the changelog.

Times are ms since the Unix epoch. A time of 0 means that no such event has come: no valid event has the time 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mypy_extensions import i32, mypyc_attr, u8

from ecounters.native import COMPILED, as_struct

LEGS_MAX: int = 200
"""The most legs of a call. An event that would add one more is refused as ``call_too_large``."""
STARTS_MAX: Final = 200
"""The most call.started of different ids of a call; as LEGS_MAX. Their ids are kept: each may come again any time."""
ENTRIES_MAX: int = 1000
"""The most holds of a call, the most IVR entries, and the most DTMF inputs; as LEGS_MAX."""


@mypyc_attr(acyclic=True)
class Leg:
    """One leg of a call, to one called party. ``changelog.saved_call`` has its saved form.

    ``retry`` is the largest one of the leg's events; above 0 the leg is a failover retry. The three times are the
    smallest ``ts`` of the leg's leg.ringing, leg.answered and leg.ended events. ``elsewhere``: a leg.ended said that
    another leg of the ring group was answered; no counter counts the leg. Compiled, it and ``retry`` share 8 bytes.
    ``later``: the call's leg that was joined after it; None for the last leg, and for the legs of a large call. A chain
    has ``lists.SMALL_MAX`` legs at most, for the reason that IvrLink gives.
    """

    id: str
    retry: i32 = 0
    elsewhere: bool = False
    ringing: int = 0
    answered: int = 0
    ended: int = 0
    later: Leg | None = None

    def __init__(
        self, id: str, retry: int = 0, elsewhere: bool = False, ringing: int = 0, answered: int = 0, ended: int = 0
    ) -> None:
        self.id = id
        self.retry = retry
        self.elsewhere = elsewhere
        self.ringing = ringing
        self.answered = answered
        self.ended = ended


if not COMPILED:
    Leg = as_struct(Leg)


Hold = tuple[int, str, bool]
"""(``ts``, event id, True if it is a call.resumed), so that holds sort by (ts, id, name of the type)."""
IvrEntry = tuple[int, str, bool, str]
"""(``ts``, event id, True if it is an ivr.left, IVR): sorts as a Hold."""


@mypyc_attr(acyclic=True)
class IvrLink:
    """One IvrEntry of a call that is not large. ``earlier`` is the one that sorts before it; None if it is the first.

    Compiled, it needs less memory than a tuple; ``left``, which is True for an ivr.left, and ``count`` share 8 bytes.
    ``count``: how many entries there are up to this one, at most ``lists.SMALL_MAX``. A longer chain is not safe: to
    free a link frees the one before it, and CPython handles the 50th such step in a way that only objects of its
    garbage collector stand.
    """

    ts: int = 0
    id: str = ""
    left: bool = False
    count: u8 = 1
    ivr: str = ""
    earlier: IvrLink | None = None

    def __init__(self, ts: int, id: str, left: bool, count: int, ivr: str, earlier: IvrLink | None) -> None:
        self.ts = ts
        self.id = id
        self.left = left
        self.count = count
        self.ivr = ivr
        self.earlier = earlier


if not COMPILED:
    IvrLink = as_struct(IvrLink)


def linked(entries: Iterable[IvrEntry]) -> IvrLink | None:
    """Link sorted entries. Returns the link of the last one; None if there are no entries."""
    last: IvrLink | None = None
    for ts, event_id, left, ivr in entries:
        last = IvrLink(ts, event_id, left, 1 if last is None else last.count + 1, ivr, last)
    return last


Dtmf = tuple[int, str, bool, str]
"""(``ts``, digits, whether they are valid, IVR or "") of a DTMF input. Many digits are replaced: see ``join``."""

LEG: Final = 0
HOLD: Final = 1
IVR: Final = 2
DTMF: Final = 3
"""The kinds of ``Item``. Saved."""


class Item(NamedTuple):
    """What names one leg, hold, IVR entry or input within its call, as a part of a changelog key.

    ``name``: the leg's id, the event id of an input, or of the other kinds the whole Hold or IvrEntry.
    """

    kind: int
    name: Any
