"""What ``ecounters audit`` prints of what it has found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from ecounters.windows.calendar import DAY_MS, day_of
from streams.basics.times import local_time
from streams.tools.audit import Options, Outcome

CALLS_SHOWN: Final = 20


def lines_of(outcome: Outcome, options: Options) -> Iterator[str]:
    """What is printed: the differences, who was not asked, and the sum of it."""
    for one in outcome.differences:
        shown = " ".join(one.calls[:CALLS_SHOWN]) + (" …" if len(one.calls) > CALLS_SHOWN else "")
        behind = f"{len(one.calls)} calls" + (f": {shown}" if one.calls else "")
        span = "now" if one.span is None else shown_span(*one.span, outcome.zones[one.user_id])
        yield "\t".join([one.user_id, span, one.key, f"worker {one.told}", f"recount {one.recounted}", behind])
    for user_id, why in outcome.not_asked.items():
        yield f"{user_id}\tnot asked: {why}"
    at = " ".join(
        f"{partition}:{first}" + (f"..{last}" if last > first else "")
        for partition, (first, last) in sorted(outcome.at.items())
    )
    of = f"{outcome.counters} counters of {outcome.users} users at partition {at or '-'}"
    skipped = f", {len(outcome.not_asked)} users not asked" if outcome.not_asked else ""
    if outcome.differences:
        different = len({one.user_id for one in outcome.differences})
        yield f"different: {len(outcome.differences)} values of {different} users; {of}{skipped}"
    else:
        yield f"{'equal' if is_equal(outcome, options) else 'not known to be equal'}: {of}{skipped}"


def is_equal(outcome: Outcome, options: Options) -> bool:
    """Whether all that was to be compared was, and is equal."""
    all_asked = options.skip_unknown or not outcome.not_asked
    return not outcome.differences and all_asked and outcome.users > 0


def shown_span(begin: int, end: int, zone: ZoneInfo) -> str:
    """A range in the user's zone; a whole day by its date."""
    first, last = (local_time(at, zone) for at in (begin, end))
    if day_of(begin, zone) == (begin, end):
        return f"{first:%Y-%m-%d} {zone}"
    until = f"{last:%H:%M}" if first.date() == last.date() or end - begin < DAY_MS else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {until} {zone}"
