"""Sum: what some cells add up to."""

from __future__ import annotations

from ecounters.windows.cell import Dims


class Sum:
    """Amounts by slot, and calls by type, campaign, DID and status. What came to nothing may stand there as 0."""

    __slots__ = ("calls", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.calls: tuple[dict[str | int | None, int], ...] = ({}, {}, {}, {})
        """For each of ``Dims``."""

    def add(self, dims: Dims, counts: dict[str, int], sign: int = 1) -> None:
        """Add (sign 1) or take back (sign -1) a cell's counts."""
        mine = self.counts
        for slot, amount in counts.items():
            mine[slot] = mine.get(slot, 0) + sign * amount
        calls = sign * counts.get("TC", 0)
        if calls:
            (by_type, by_campaign, by_did, by_status), (kind, campaign, did, status) = self.calls, dims
            by_type[kind] = by_type.get(kind, 0) + calls
            by_campaign[campaign] = by_campaign.get(campaign, 0) + calls
            by_did[did] = by_did.get(did, 0) + calls
            by_status[status] = by_status.get(status, 0) + calls

    def join(self, other: Sum) -> None:
        """Add another one."""
        for slot, amount in other.counts.items():
            self.counts[slot] = self.counts.get(slot, 0) + amount
        for mine, theirs in zip(self.calls, other.calls, strict=True):
            for value, calls in theirs.items():
                mine[value] = mine.get(value, 0) + calls
