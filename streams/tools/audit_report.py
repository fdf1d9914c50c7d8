"""An audit's options, whom it cannot query, its outcome, and the lines that ``ecounters audit`` prints."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

from ecounters.windows.calendar import DAY_MS, day_of
from streams.access.accounts import UserInfo
from streams.access.store import OVERALL_COUNT
from streams.basics.text import printable
from streams.basics.times import local_time, zone_named

CALLS_SHOWN: Final = 20
"""The line of a difference names so many calls at most. An ellipsis stands for further calls."""

Range = tuple[int, int]
"""[begin, end) in ms."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``ecounters audit``.

    ``since_ms``: compare only windows that begin there or later; None compares all that are kept. ``every_window``:
    compare each window by itself too, not only their sum. ``skip_unknown``: the audit can succeed without the users
    that cannot be queried.
    """

    since_ms: int | None = None
    every_window: bool = False
    skip_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter, or an entry of a map such as CST/16, for which worker and recount have different values.

    ``span``: the smallest range to which the difference was narrowed down; None for a value as of now, such as live
    calls. ``key``: the counter or entry. ``calls``: the ids of the calls that make up the recount's value.
    """

    user_id: str
    span: Range | None
    key: str
    worker_value: object
    recount_value: object
    calls: list[str]


@dataclass(slots=True)
class Outcome:
    """The result of an audit.

    ``users``, ``counters``: how many were compared; each user has all counters. ``not_queried``: user -> why the user
    cannot be queried. ``zones``: user -> time zone. ``positions``: partition -> the lowest and the highest log position
    at which users were compared.
    """

    users: int = 0
    counters: int = 0
    not_queried: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    zones: dict[str, ZoneInfo] = field(default_factory=dict)
    positions: dict[int, tuple[int, int]] = field(default_factory=dict)


def known_zones(infos: Iterable[UserInfo]) -> dict[str, ZoneInfo]:
    """User -> time zone, of those users whose zone this machine knows. ``why_not_queried`` names the others."""
    zones = {}
    for info in infos:
        with suppress(ValueError):
            zones[info.user_id] = zone_named(info.zone)
    return zones


def why_not_queried(info: UserInfo | None, zones: Container[str]) -> str:
    """Why a user's counters cannot be queried; "" if they can.

    ``info``: None if only the log has the user. ``zones``: the users whose time zone is known.
    """
    if info is None:
        return "no account"
    if info.user_id not in zones:
        return f"its time zone {info.zone} is not known on this machine"
    return f"{OVERALL_COUNT} is denied" if OVERALL_COUNT in info.deny else ""


def lines_of(outcome: Outcome, options: Options) -> Iterator[str]:
    """The lines to print: differences, users that were not queried, and at last a line that sums the audit up.

    Users, calls and entries of maps may have any characters in their names: see ``printable``.
    """
    for difference in outcome.differences:
        yield _difference_line(difference, outcome.zones[difference.user_id])
    for user_id, why in outcome.not_queried.items():
        yield f"{printable(user_id)}\tnot asked: {printable(why)}"
    positions = " ".join(
        f"{partition}:{lowest}" + (f"..{highest}" if highest > lowest else "")
        for partition, (lowest, highest) in sorted(outcome.positions.items())
    )
    compared = f"{outcome.counters} counters of {outcome.users} users at partition {positions or '-'}"
    skipped = f", {len(outcome.not_queried)} users not asked" if outcome.not_queried else ""
    if outcome.differences:
        users = len({difference.user_id for difference in outcome.differences})
        yield f"different: {len(outcome.differences)} values of {users} users; {compared}{skipped}"
    else:
        yield f"{'equal' if is_equal(outcome, options) else 'not known to be equal'}: {compared}{skipped}"


def is_equal(outcome: Outcome, options: Options) -> bool:
    """Whether the audit succeeded: at least one user was compared, nothing differs, and all users could be queried.

    With ``skip_unknown``, users that cannot be queried are no failure.
    """
    complete = options.skip_unknown or not outcome.not_queried
    return not outcome.differences and complete and outcome.users > 0


def _difference_line(difference: Difference, zone: ZoneInfo) -> str:
    """One line: user, span, counter, both values and the calls, separated by tabs."""
    count = len(difference.calls)
    calls = f"{count} calls"
    if count:
        calls += ": " + " ".join(map(printable, difference.calls[:CALLS_SHOWN]))
    if count > CALLS_SHOWN:
        calls += " …"
    span = "now" if difference.span is None else shown_span(*difference.span, zone)
    values = [f"worker {difference.worker_value}", f"recount {difference.recount_value}"]
    return "\t".join([*map(printable, (difference.user_id, span, difference.key, *values)), calls])


def shown_span(begin: int, end: int, zone: ZoneInfo) -> str:
    """A range [begin, end) in ms as text: a whole day as its date, else times of the user's time zone."""
    first, last = (local_time(at, zone) for at in (begin, end))
    if day_of(begin, zone) == (begin, end):
        return f"{first:%Y-%m-%d} {zone}"
    until = f"{last:%H:%M}" if first.date() == last.date() or end - begin < DAY_MS else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {until} {zone}"
