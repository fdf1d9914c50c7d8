"""``ecounters audit`` and ``ecounters explain``: whether counters are right, and where they come from."""

from __future__ import annotations

from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import click

from ecounters.errors import RequestRefused
from ecounters.query.dates import DateCondition, time_range
from ecounters.recount.recount import Recount
from ecounters.text import shown
from streams.basics.addresses import local_url
from streams.basics.text import is_unicode
from streams.basics.times import epoch_ms, now_ms
from streams.commands.common import settings_with
from streams.settings.table import Settings
from streams.tools.audit import run_audit
from streams.tools.audit_report import Options, is_equal, lines_of
from streams.tools.explain import Question, run_explain, zone_of
from streams.tools.run_to_end import run_to_end


def _range(option: str, op: str, text: str, zone: ZoneInfo, settings: Settings) -> tuple[int, int]:
    """The range [begin, end) in ms, widened to whole windows, that the text of a date option names.

    ``op`` is an operator of the API's date filter. ``text`` is a date as in the API or, if ``op`` is "eq", also a range
    A..B. Dates without an offset are of ``zone``. Raises click.BadParameter, which names ``option``.
    """
    values = tuple(value if (ms := epoch_ms(value)) is None else ms for value in text.split(".."))
    if len(values) > 2 or (len(values) == 2 and op != "eq"):
        raise click.BadParameter(f"{text!r} is more than a date", param_hint=option)
    condition = DateCondition("between" if len(values) == 2 else op, values, option)
    try:
        return time_range([condition], zone, now_ms(), settings.keep_days_ms)
    except RequestRefused as refused:
        raise click.BadParameter(refused.detail, param_hint=option) from None


def _addresses(context: click.Context, option: click.Parameter, urls: tuple[str, ...]) -> tuple[str, ...]:
    """click callback: refuse a text that is not the URL of an HTTP or HTTPS server."""
    for url in urls:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and is_unicode(url)
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
    help="A worker's address; give one for each worker.  [default: http(s)://ECOUNTERS_HOST:ECOUNTERS_PORT]",
)
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="Compare only windows that begin at TIME or later (YYYY-MM-DD in ECOUNTERS_ZONE, RFC 3339 or ms), and read "
    "the log only from about there. Live calls, balances, repeat and fresh calls are left out: they depend on earlier "
    "events.",
)
@click.option("--windows", is_flag=True, help="Compare each window by itself too, not only their sum.")
@click.option("--skip-unknown", is_flag=True, help="Succeed also if some users cannot be compared.")
def audit(workers: tuple[str, ...], since: str | None, windows: bool, skip_unknown: bool) -> int:
    """Recount the log of events and compare the result with the workers' counters.

    The recount follows the definitions of the counters and shares no code with the workers. It compares every counter
    and Field of every user, over all windows that are kept. A worker's answer names the position in the log that it
    holds for, and the recount is taken at the same position, also while events keep coming. A line for each difference
    has user, window, counter, both values, and the calls that make up the recount's value.

    The audit needs Redis: it opens a session of each user for its requests, and closes it again. A user that is in the
    log but has no account cannot be compared. Run it with the same settings as the workers, because some of them change
    what is counted.

    A state that was moved (`ecounters topics --grow`, `ecounters state import`) says what was counted before, and up to
    where. The audit counts that too, as long as it can be read. It refuses a state that is of another topic or number
    of partitions.

    Exit code 0: all counters are equal. Exit code 1: some differ, or not all could be compared.

    \b
        ecounters audit
        ecounters audit --worker http://10.0.0.7:8080 --worker http://10.0.0.8:8080
        ecounters audit --from 2026-03-01 --windows
    """
    settings = settings_with()
    since_ms = None if since is None else _range("--from", "gte", since, settings.zone, settings)[0]
    options = Options(since_ms, windows, skip_unknown)
    urls = workers or (local_url(settings.host, settings.port, settings.scheme),)
    outcome = run_to_end(settings, run_audit(settings, urls, options))
    for line in lines_of(outcome, options):
        click.echo(line)
    return 0 if is_equal(outcome, options) else 1


# --------------------------------------------------------------------------------------------------- explain


def _known_key(context: click.Context, option: click.Parameter, key: str) -> str:
    """click callback: refuse a key that is neither a counter nor an entry of a map."""
    try:
        Recount().calls_behind("", key, 0, 0)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return key


def _possible_user(context: click.Context, option: click.Parameter, user_id: str) -> str:
    """click callback: refuse a user id that no event can have, because it is not UTF-8."""
    if not is_unicode(user_id):
        raise click.BadParameter(f"no event can have the user id {shown(user_id)}")
    return user_id


@click.command()
@click.option("--user", "user_id", required=True, callback=_possible_user, help="The user whose counter it is.")
@click.option(
    "--counter", required=True, callback=_known_key, help="A counter such as MC, or an entry of a map such as CST/16."
)
@click.option(
    "--date",
    default="today",
    show_default=True,
    help="A day, a moment (for its 15 minutes), a word of the API such as today, or a range A..B; in the user's time "
    "zone.",
)
def explain(user_id: str, counter: str, date: str) -> None:
    """List the calls behind a counter, and the event that counted each.

    It reads the log alone, with the recount of `ecounters audit`. A line has the call, its start, and the event that
    counted the call: type, time, id and offset. `silence after` means that no event did: the call was silent for
    ECOUNTERS_MAX_CALL_MS after the event that is named. The value of the counter follows on standard error.

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
    explained = run_to_end(settings, run_explain(settings, Question(user_id, counter, begin, end)))
    for line in explained.lines(zone):
        click.echo(line)
    click.echo(explained.total(zone), err=True)
