"""``ecounters audit`` and ``ecounters explain``: is it true, and where does it come from."""

from __future__ import annotations

from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import click

from ecounters.errors import RequestRefused
from ecounters.query.dates import DateCondition, time_range
from ecounters.recount.recount import Recount
from streams.basics.addresses import local_url
from streams.basics.times import epoch_ms, now_ms
from streams.commands.common import settings_with
from streams.settings.table import Settings
from streams.tools.audit import run_audit
from streams.tools.audit_report import Options, is_equal, lines_of
from streams.tools.explain import Question, run_explain, zone_of
from streams.tools.run_to_end import run_to_end


def _range(option: str, op: str, text: str, zone: ZoneInfo, settings: Settings) -> tuple[int, int]:
    """The range of time that an option names, in whole windows; as in the API, and A..B besides."""
    values = tuple(value if (ms := epoch_ms(value)) is None else ms for value in text.split(".."))
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
    options = Options(since_ms, windows, skip_unknown)
    outcome = run_to_end(settings, run_audit(settings, workers or (local_url(settings.host, settings.port),), options))
    for line in lines_of(outcome, options):
        click.echo(line)
    return 0 if is_equal(outcome, options) else 1


# --------------------------------------------------------------------------------------------------- explain


def _known_key(context: click.Context, option: click.Parameter, key: str) -> str:
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
    zone = run_to_end(settings, zone_of(settings, user_id))
    if zone is None:
        zone = ZoneInfo("UTC")
        click.echo(f"There is no account of {user_id}, or Redis cannot be asked: times are of UTC.", err=True)
    begin, end = _range("--date", "eq", date, zone, settings)
    found = run_to_end(settings, run_explain(settings, Question(user_id, counter, begin, end)))
    for line in found.lines(zone):
        click.echo(line)
    click.echo(found.total(zone), err=True)
