"""``ecounters audit`` and ``ecounters explain``: is it true, and where does it come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import click

from ecounters.errors import RequestRefused
from ecounters.query.dates import DateCondition, time_range
from streams.access.accounts import Accounts
from streams.access.sessions import Sessions
from streams.basics.terminal import Progress
from streams.commands.common import settings_with
from streams.settings.narrow import AuditSettings, limits_of
from streams.settings.table import Settings
from streams.tools.run_to_end import run_to_end

if TYPE_CHECKING:  # what takes its time to load is loaded when it is used
    from streams.tools.audit import Options, Outcome
    from streams.tools.explain import Question

EARLIER_MS: Final = 900_000
"""So much is read before the first window that is compared, and what a clock may be ahead: an event may come before
one of its call that it follows."""
ANYWHERE: Final = frozenset({"0.0.0.0", "::"})


def _range(option: str, op: str, text: str, zone: ZoneInfo, settings: Settings) -> tuple[int, int]:
    """The range of time that an option names, in whole windows; as in the API, and A..B besides."""
    from streams.basics.times import now_ms

    values = tuple(int(one) if re.fullmatch(r"[0-9]{1,15}", one) else one for one in text.split(".."))
    if len(values) > 2 or (len(values) == 2 and op != "eq"):
        raise click.BadParameter(f"{text!r} is more than a date", param_hint=option)
    asked = DateCondition("between" if len(values) == 2 else op, values, option)
    try:
        return time_range([asked], zone, now_ms(), settings.keep_days_ms)
    except RequestRefused as refused:
        raise click.BadParameter(refused.detail, param_hint=option) from None


def _addresses(context: click.Context, option: click.Parameter, urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise click.BadParameter(f"{url!r} is no address such as http://10.0.0.7:8080")
    return urls


def _own_address(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in ANYWHERE else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


# ----------------------------------------------------------------------------------------------------- audit


@click.command()
@click.option(
    "--worker",
    "workers",
    metavar="URL",
    multiple=True,
    callback=_addresses,
    help="A worker's address; give all of them. http://ECOUNTERS_HOST:ECOUNTERS_PORT if not given.",
)
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="Read from there, and compare the windows from there on (YYYY-MM-DD in ECOUNTERS_ZONE, RFC 3339 or ms). "
    "Live calls, balances, repeat and fresh are left out: they depend on what was before.",
)
@click.option("--windows", is_flag=True, help="Compare every window by itself too, not only their sum.")
@click.option("--skip-unknown", is_flag=True, help="Users who cannot be asked do not count as a difference.")
def audit(workers: tuple[str, ...], since: str | None, windows: bool, skip_unknown: bool) -> int:
    """Recount the log of events, and compare with what the workers say.

    The recount goes by the definitions alone and shares no code with the workers. Every user's counters and Fields
    are compared, of all windows that are kept, at the position of the log that the worker's answer is of; where events
    keep coming, the recount reads on to there. What differs is printed with user, window, counter, both values and the
    calls that make up the recount's.

    Users are asked for through sessions of a few minutes, so Redis is needed; who is in the log and has no account
    cannot be asked. Run it with the settings of the workers: those that change counting change the recount.

    Exit code 0: all are equal; 1: not all, or it could not be told.

    \b
        ecounters audit
        ecounters audit --worker http://10.0.0.7:8080 --worker http://10.0.0.8:8080
        ecounters audit --from 2026-03-01 --windows
    """
    settings = settings_with()
    since_ms = None if since is None else _range("--from", "gte", since, settings.zone, settings)[0]
    from streams.tools.audit import Options, is_equal, lines_of

    options = Options(since_ms, windows, skip_unknown)
    outcome = run_to_end(settings, _audit(settings, workers or (_own_address(settings),), options))
    for line in lines_of(outcome, options):
        click.echo(line)
    return 0 if is_equal(outcome, options) else 1


async def _audit(settings: Settings, urls: tuple[str, ...], options: Options) -> Outcome:
    import aiohttp

    from streams.kafka.log_reader import log_reader
    from streams.tools.audit import Audit
    from streams.tools.workers import ANSWER_LIMIT_S, Workers

    earlier = None if options.since_ms is None else options.since_ms - settings.clock_ahead_ms - EARLIER_MS
    accounts = Accounts.connect(settings.redis)
    try:
        async with (
            log_reader(settings.broker, settings.topic, earlier) as reader,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S)) as client,
        ):
            _warn_of(reader.missing)
            return await Audit(reader, Workers(client, urls), accounts, AuditSettings.of(settings), options).run()
    finally:
        await accounts.close()


def _warn_of(missing: dict[int, int]) -> None:
    for partition, records in missing.items():
        click.echo(
            f"partition {partition}: the broker has deleted what was before offset {records}; the recount knows "
            "nothing of it (--from leaves it out)",
            err=True,
        )


# --------------------------------------------------------------------------------------------------- explain


def _known_key(context: click.Context, option: click.Parameter, key: str) -> str:
    from ecounters.recount.recount import Recount

    try:
        Recount().calls_behind("", key, 0, 0)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return key


@click.command()
@click.option("--user", "user_id", required=True, help="Whose number it is.")
@click.option("--counter", required=True, callback=_known_key, help="Such as MC, or an entry of a map: CST/16.")
@click.option(
    "--date",
    default="today",
    show_default=True,
    help="A day, a moment (its 15 minutes), a word as in the API, or a range A..B; in the user's zone.",
)
def explain(user_id: str, counter: str, date: str) -> None:
    """List the calls behind a number, and the event that counted each.

    Read from the log alone, with the recount of `ecounters audit`. A line is: call, its start, and the event since
    which the call counts: type, time, id, offset. `silence after` says that no event did: the call was silent for
    ECOUNTERS_MAX_CALL_MS after that one.

    \b
        ecounters explain --user acme --counter MC
        ecounters explain --user acme --counter CST/16 --date 2026-03-01
        ecounters explain --user acme --counter TC --date '2026-03-01 12:00:00..2026-03-01 13:00:00'
    """
    settings = settings_with()
    run_to_end(settings, _explain(settings, user_id, counter, date))


async def _explain(settings: Settings, user_id: str, counter: str, date: str) -> None:
    from streams.tools.explain import Question

    sessions = Sessions.connect(settings.redis, settings.session_cache_s)
    try:
        zone = await sessions.zone_of(user_id)
    finally:
        await sessions.close()
    if zone is None:
        zone = ZoneInfo("UTC")
        click.echo(f"There is no account of {user_id}, or Redis cannot be asked: times are of UTC.", err=True)
    begin, end = _range("--date", "eq", date, zone, settings)

    def time_of(ms: int) -> str:
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).isoformat(timespec="milliseconds")

    await _list(settings, Question(user_id, counter, begin, end), time_of)


async def _list(settings: Settings, question: Question, time_of: Callable[[int], str]) -> None:
    from ecounters.recount.parse import partition_of
    from ecounters.recount.recount import Recount
    from streams.basics.times import now_ms
    from streams.kafka.log_reader import log_reader
    from streams.tools.explain import Explanation

    def own(partitions: int) -> int:
        return partition_of(question.user_id, partitions)

    progress = Progress("read")
    async with log_reader(settings.broker, settings.topic, only=own) as reader:
        _warn_of(reader.missing)
        partition = own(reader.partitions)
        explanation = Explanation(Recount(partition, reader.partitions, limits_of(settings)), question)
        upto = reader.ends[partition]
        async for rows in reader.up_to(partition, upto):
            for row in rows:
                explanation.take(row)
            progress.add(len(rows))
    progress.end()
    clock = explanation.recount.clock_at(now_ms())
    calls = list(explanation.calls(clock))
    for call in calls:
        event = call.by.event
        kind = f"silence after {event['type']}" if call.silent else event["type"]
        by = [kind, time_of(event["ts"]), event["id"], str(call.by.offset)]
        click.echo("\t".join([call.call_id, time_of(call.start_ms), *by]))
    click.echo(
        f"{question.key} of {question.user_id} is {explanation.value(clock)}, of {len(calls)} calls, from "
        f"{time_of(question.begin)} to {time_of(question.end)}, partition {partition} up to offset {upto}",
        err=True,
    )
