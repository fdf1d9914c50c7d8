"""Extras: what only some of the live calls have. ``Call`` reads and writes it by properties of the same names."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from ecounters.calls.items import Dtmf, Hold
from ecounters.calls.large import LargeCall
from ecounters.windows.cell import Amounts


@mypyc_attr(acyclic=True)
class Extras:
    """The fields of a call that most live calls do not need. A call has no such object until the first of them is set.

    ``Call`` says what each field means. Interpreted, calls have these fields themselves.
    """

    end: int = 0
    end_id: str = ""
    ended_by: str = ""
    system_end: tuple[int, int] | None = None
    holds: tuple[Hold, ...] | None = None
    dtmfs: dict[str, Dtmf] | None = None
    start_ids: tuple[str, ...] | None = None
    last_start: int = 0
    reused_at: int = 0
    large: LargeCall | None = None
    amounts: Amounts = ()
