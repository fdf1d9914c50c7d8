"""Totals: what a user's calls add up to over a range of time, as a value that can be merged with another user's.

    totals = totals_of(user, begin, end, where)
    totals.merge(totals_of(other_user, begin, end, where))    # now the totals of both users

Nothing is formatted in this file: ``payload`` renders totals as the message of a reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, cast

from ecounters.calls.live_key import LiveKey
from ecounters.large_dict import LargeDict
from ecounters.partition.emptying import emptying
from ecounters.partition.user import User
from ecounters.query.conditions import Predicate, Where
from ecounters.windows.cell import CAMPAIGN, DID, STATUS, TYPE
from ecounters.windows.dims import Dims
from ecounters.windows.sums import Sum, add_to

_DIMENSION: Final = {"type": TYPE, "campaign": CAMPAIGN, "did": DID, "status": STATUS}
LIVE_DIMENSIONS: Final = LiveKey.__struct_fields__


class Totals:
    """Sums over [begin, end) of one user or, after ``merge``, of several. A new Totals has zeros and empty maps.

    begin, end             the range that is counted, in ms since the Unix epoch
    sum                    the sum of the cells of the range: of the calls that started in it
    counts                 ``sum.counts``, the same dict: slot -> amount
    live                   (type, campaign, DID, IVR) -> number of calls that are live now, whenever they started
    balance, call_balance  the last balances of the accounts, added up; 0 for an account without one

    ``totals_of`` fills the fields; ``calls_by``, ``live_by`` and ``inputs`` read the maps of counters from them.
    """

    __slots__ = ("_inputs", "_live_by", "balance", "begin", "call_balance", "counts", "end", "live", "sum")

    def __init__(self, begin: int, end: int) -> None:
        self.begin, self.end = begin, end
        self.sum = Sum()
        self.counts = self.sum.counts
        self.live: dict[LiveKey, int] = {}
        self.balance: int | float = 0
        self.call_balance: int | float = 0
        # Computed from `counts` and `live` at the first call of `inputs` and `live_by`; None before that.
        self._inputs: dict[str, LargeDict[str, int]] | None = None
        self._live_by: dict[str, LargeDict[str, int]] | None = None

    def merge(self, other: Totals) -> None:
        """Add the totals of another user, or of several other users. ``other`` does not change.

        The range becomes the smallest that holds both ranges. These can differ although ``totals_of`` was called with
        one range for both, because a rolled-up day of one user may have widened it.
        """
        self.begin, self.end = min(self.begin, other.begin), max(self.end, other.end)
        self.sum.join(other.sum)
        for key, calls in other.live.items():
            self.live[key] = self.live.get(key, 0) + calls
        self.balance += other.balance
        self.call_balance += other.call_balance
        self._inputs = self._live_by = None

    @property
    def size(self) -> int:
        """About how many entries the maps of counters have, altogether."""
        live = len(self.live) if self._live_by is None else sum(map(len, self._live_by.values()))
        return len(self.counts) + sum(map(len, self.sum.calls)) + live

    def emptying(self) -> Iterator[None]:
        """Empty all maps, with a yield after each entry: to free very many at once is a long step."""
        by_name = (self._inputs or {}, self._live_by or {})
        yield from emptying(self.counts, *self.sum.calls, *chain.from_iterable(tables.values() for tables in by_name))

    def calls_by(self, dimension: str) -> dict[str, int]:
        """Calls by the values of "type", "campaign", "did" or "status"; calls without a value are left out."""
        calls_by_value = self.sum.calls[_DIMENSION[dimension]]
        return {
            str(value): calls for value, calls in calls_by_value.items() if value is not None and value != "" and calls
        }

    def calls_with_zeros(self, dimension: str) -> dict[str, int] | LargeDict[str, int]:
        """As ``calls_by``, perhaps with an entry for "", and with zeros. Takes no longer for more values."""
        if dimension == "status":
            return self.calls_by(dimension)
        return cast(LargeDict[str, int], self.sum.calls[_DIMENSION[dimension]])

    def inputs(self, key: str) -> LargeDict[str, int]:
        """The map of a counter of DTMF inputs: "DTMF" -> {"1": 5, "#": 2} from the slots "DTMF/1" and "DTMF/#"."""
        if self._inputs is None:
            self.add_inputs(self.counts.items())
        return (self._inputs or {}).get(key) or LargeDict()

    def add_inputs(self, items: Iterable[tuple[str, int]]) -> None:
        """Add the input slots among some items of ``counts`` to what ``inputs`` returns.

        For ``reading``, which does in steps what the first call of ``inputs`` does at once.
        """
        by_counter = self._inputs = {} if self._inputs is None else self._inputs
        for slot, amount in items:
            name, slash, entry = slot.partition("/")
            if slash and amount:
                by_counter.setdefault(name, LargeDict())[entry] = amount

    def live_by(self, dimension: str) -> LargeDict[str, int]:
        """Live calls by the values of "type", "campaign", "did" or "ivr"; calls without a value are left out."""
        return (self._live_by or self.count_live(self.live.items()))[dimension]

    def count_live(self, items: Iterable[tuple[LiveKey, int]]) -> dict[str, LargeDict[str, int]]:
        """Add items of ``live`` to what ``live_by`` returns. Returns that, by the fields of a LiveKey.

        For ``reading``, which does in steps what the first call of ``live_by`` does at once.
        """
        tables = self._live_by = self._live_by or {field: LargeDict() for field in LIVE_DIMENSIONS}
        by_type, by_campaign, by_did, by_ivr = tables.values()
        for key, calls in items:
            if key.type:
                add_to(by_type, key.type, calls)
            if key.campaign:
                add_to(by_campaign, key.campaign, calls)
            if key.did:
                add_to(by_did, key.did, calls)
            if key.ivr:
                add_to(by_ivr, key.ivr, calls)
        return tables


def totals_of(user: User | None, begin: int, end: int, where: Where | None = None, *, live: bool = True) -> Totals:
    """The totals of one user over [begin, end) in ms, which must be bounds of windows. User None, unknown, has zeros.

    Settles the user first, so that the cells hold every applied event. ``where``: which calls to count, None for all;
    balances are not filtered. ``live``: whether to include live calls and balances, which are of now and of no range.
    If ``begin`` or ``end`` lies inside a rolled-up day, the whole day counts, and the range of the totals is wider.
    """
    totals = Totals(begin, end)
    if user is None:
        return totals
    user.settle()
    predicate = where.to_predicate() if where is not None else None
    if live:
        totals.live = _live_calls(user, predicate)
        totals.balance = user.balance[2] if user.balance is not None else 0
        totals.call_balance = user.call_balance[2] if user.call_balance is not None else 0
    for span in user.spans.within(begin, end):
        totals.begin = min(totals.begin, span.begin)
        totals.end = max(totals.end, span.end)
        if predicate is None:
            span.add_to(totals.sum)
            continue
        for dims, cell in span.cells.items():
            if predicate(dims):
                totals.sum.add_cell(cell)
    return totals


def _live_calls(user: User, predicate: Predicate | None) -> dict[LiveKey, int]:
    """A copy of the items of ``user.live`` for which the predicate holds. The status of live calls is None."""
    if predicate is None:
        return dict(user.live.items())
    return {key: calls for key, calls in user.live.items() if predicate(dims_of(key))}


def dims_of(key: LiveKey) -> Dims:
    """The dimensions of the live calls that are counted under a live key: they have no status."""
    return Dims(key.type, key.campaign, key.did, None)
