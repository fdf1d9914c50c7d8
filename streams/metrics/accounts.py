"""``AccountSeries``: the metrics of single accounts, which an operator turns on by ECOUNTERS_METRICS_ACCOUNTS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ecounters.reports.day import GHOST_RETRIES, DayReading

CAP: Final = "cap"
NO_ZONE: Final = "no_zone"
LEFT_OUT: Final = (CAP, NO_ZONE)
"""Why an account has no series: there are more than may have some; its time zone is not known, so neither its day."""


class Family(NamedTuple):
    """A metric of accounts: its name after PREFIX, its type and its text.

    ``keys``: of a counter of the day: value of the label ``outcome`` -> key of ``DayReading.counts``; with the value ""
    there is no such label.
    """

    name: str
    type: str
    documentation: str
    keys: Mapping[str, str] = {}


_COUNTERS: Final = (
    Family("calls", "counter", "Calls of this day (TC)", {"": "TC"}),
    Family("answered_calls", "counter", "Answered calls of this day (CNC)", {"": "CNC"}),
    Family("missed_calls", "counter", "Missed calls of this day (MC)", {"": "MC"}),
    Family("ghost_calls", "counter", "Ghost calls of this day (GHC)", {"": "GHC"}),
    Family("transferred_calls", "counter", "Transferred calls of this day (TRSC)", {"": "TRSC"}),
    Family(
        "retried_calls", "counter", "Ended calls of this day with retries (FR_UC), by what became of these",
        {"missed": "FR_CM", "partly": "FR_PM", "answered": "FR_CA", "ghost": "FR_GH_UC"},
    ),
    Family(
        "retry_legs", "counter", "Retry legs of ended calls of this day (FR_UC_N), by the outcome of their call",
        {"missed": "FR_CM_N", "partly": "FR_PM_N", "answered": "FR_CA_N", "ghost": GHOST_RETRIES},
    ),
    Family("ghost_retry_legs", "counter", "Ghost retry legs of ended calls of this day (FR_GH_N)", {"": "FR_GH_N"}),
)  # fmt: skip
"""They rise from 0 at each midnight of the account's zone."""

_LIVE: Final = Family("live_calls", "gauge", "Live calls")
_LIVE_BY: Final = {
    "type": Family("live_calls_by_type", "gauge", "Live calls by type (LCT)"),
    "campaign": Family("live_calls_by_campaign", "gauge", "Live calls by campaign (RCMPID)"),
    "did": Family("live_calls_by_did", "gauge", "Live calls by DID (LDID)"),
}
_VALUES_LEFT_OUT: Final = Family("values_left_out", "gauge", "Types, campaigns and DIDs without a series")
_BALANCE: Final = Family("balance", "gauge", "The last balance (ucBl)")
_CALL_BALANCE: Final = Family("call_balance", "gauge", "The last callBalance (cBl)")

FAMILIES: Final = (*_COUNTERS, _LIVE, *_LIVE_BY.values(), _VALUES_LEFT_OUT, _BALANCE, _CALL_BALANCE)
PREFIX: Final = "ecounters_account_"

Series = dict[str, list[Sample]]
"""The name of a Family -> its series of one account."""


def series_of(account: str, day: DayReading, counts: Mapping[str, int]) -> Series:
    """The series of an account. ``counts``: the counters of ``day`` as they are to be shown."""
    samples: Series = {}

    def add(family: Family, value: float, **labels: str) -> None:
        ending = "_total" if family.type == "counter" else ""
        sample = Sample(f"{PREFIX}{family.name}{ending}", {"account": account, **labels}, value)
        samples.setdefault(family.name, []).append(sample)

    for family in _COUNTERS:
        for outcome, key in family.keys.items():
            add(family, counts[key], **({"outcome": outcome} if outcome else {}))
    add(_LIVE, day.live)
    for dimension, family in _LIVE_BY.items():
        values = day.values[dimension]
        for value, calls in values.calls.items():
            add(family, calls, **{dimension: value})
        add(_VALUES_LEFT_OUT, values.left_out, dimension=dimension)
    add(_BALANCE, day.balance)
    add(_CALL_BALANCE, day.call_balance)
    return samples


class AccountSeries(Collector):
    """The metrics of accounts: they have the series that the last ``show`` gave them, and no others.

    So the series of an account that was erased, or whose partition the worker has given up, vanish.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accounts: Sequence[Series] = ()
        self._left_out = Gauge(
            "ecounters_accounts_left_out", "Accounts of this worker without metrics", ["reason"], registry=registry
        )
        for reason in LEFT_OUT:
            self._left_out.labels(reason)
        registry.register(self)

    def left_out(self, reason: str, accounts: int) -> None:
        """Set how many accounts have no series, for a reason of LEFT_OUT."""
        self._left_out.labels(reason).set(accounts)

    def show(self, accounts: Iterable[Series]) -> None:
        """Replace all series."""
        self._accounts = tuple(accounts)

    def collect(self) -> Iterable[Metric]:
        """All metrics as they are now; called for each look at the metrics."""
        for family in FAMILIES:
            metric = Metric(PREFIX + family.name, family.documentation, family.type)
            metric.samples = [sample for series in self._accounts for sample in series.get(family.name, ())]
            yield metric
