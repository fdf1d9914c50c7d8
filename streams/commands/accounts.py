"""``ecounters user`` and ``ecounters session``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from ecounters.text import shown
from streams.access.accounts import Accounts
from streams.access.store import PERMISSIONS
from streams.basics.times import duration_s
from streams.commands.common import settings_with
from streams.commands.secret_input import either, read_secret
from streams.settings.table import Settings
from streams.tools.erase import erase
from streams.tools.run_to_end import run_to_end

T = TypeVar("T")


def _with_accounts(use: Callable[[Accounts], Awaitable[T]], settings: Settings | None = None) -> T:
    """Call ``use`` with Accounts that are closed afterwards, and return its result.

    ``settings``: None for those of the environment. Raises Stop, also if Redis fails.
    """
    settings = settings or settings_with()

    async def work() -> T:
        accounts = Accounts.connect(settings)
        try:
            return await use(accounts)
        finally:
            await accounts.close()

    return run_to_end(settings, work())


def _duration(context: click.Context, option: click.Parameter, text: str) -> int:
    """click callback: a text such as 90s, 30m, 12h or 7d -> seconds."""
    seconds = duration_s(text)
    if seconds is None:
        raise click.BadParameter(f"{text!r} is no time such as 90s, 30m, 12h or 7d")
    return seconds


_TOKEN_FILE = click.option(
    "--token-file",
    metavar="FILE",
    type=click.File("rb"),
    callback=read_secret,
    help="A file with the user's token; - is standard input.",
)


@click.group()
def user() -> None:
    """Add, list, remove and erase users, and give them new tokens and time zones."""


@user.command("add")
@click.argument("user_id", metavar="USER")
@click.option("--token", help="The user's token; use --token-file instead.  [default: a random one]")
@_TOKEN_FILE
@click.option("--zone", help="The user's time zone, such as Asia/Kolkata.  [default: ECOUNTERS_ZONE]")
@click.option(
    "--deny", type=click.Choice(PERMISSIONS), multiple=True, help="Deny a permission; can be given more than once."
)
def user_add(user_id: str, token: str | None, token_file: str | None, zone: str | None, deny: tuple[str, ...]) -> None:
    """Add USER and print its token.

    The token is not stored in readable form, so it cannot be shown again. `ecounters user token` gives a new one. A
    token of your own must have 16 to 512 printable characters. Other users of this machine can see --token in the list
    of processes while the command runs: use --token-file.

    USER has 1 to 128 printable characters, as in events. It must not be . or .. nor begin or end with white space.

    \b
        ecounters user add acme --zone Asia/Kolkata
        TOKEN=$(ecounters user add acme)
        ecounters user add acme --token-file /run/secrets/acme
        pass show acme | ecounters user add acme --token-file -
    """
    token = either(token, token_file, "--token and --token-file")
    settings = settings_with()
    zone_name = zone or str(settings.zone)
    click.echo(_with_accounts(lambda accounts: accounts.add_user(user_id, zone_name, token, deny), settings))
    click.echo(f"Added {user_id}, days of {zone_name}. Keep the token: it is not shown again.", err=True)


@user.command("list")
def user_list() -> None:
    """List the users: id, time zone and denied permissions."""
    for info in _with_accounts(lambda accounts: accounts.list_users()):
        columns = [info.user_id, info.zone]
        if info.deny:
            columns.append("denied: " + " ".join(info.deny))
        click.echo("\t".join(columns))


@user.command("zone")
@click.argument("user_id", metavar="USER")
@click.argument("zone", metavar="ZONE")
def user_zone(user_id: str, zone: str) -> None:
    """Give USER another time zone: ZONE, such as Asia/Kolkata.

    Workers know it within seconds: "today" and other dates of requests are then days of ZONE. Windows that become days
    from now on become days of ZONE. What is a day already stays a day of the old zone, and keeps its counts. Token and
    sessions stay valid.

    \b
        ecounters user zone acme Asia/Kolkata
    """
    _with_accounts(lambda accounts: accounts.set_zone(user_id, zone))
    click.echo(f"{user_id} has days of {zone} now.", err=True)


@user.command("remove")
@click.argument("user_id", metavar="USER")
def user_remove(user_id: str) -> None:
    """Remove USER and end all its sessions.

    Its counters stay until they are older than ECOUNTERS_KEEP_DAYS.
    """
    _with_accounts(lambda accounts: accounts.remove_user(user_id))
    click.echo(f"Removed {user_id}.", err=True)


@user.command("erase")
@click.argument("user_id", metavar="USER")
@click.option("--yes", is_flag=True, help="Do not ask before.")
def user_erase(user_id: str, yes: bool) -> None:
    """Forget USER: its counters, numbers, account and sessions.

    It publishes account.erased, waits until Kafka has it, and then removes the account and its sessions. A worker
    forgets the calls, numbers, counters and balances of USER when it reads the event, within a second if it is up to
    date. If the command fails in between, run it again: to erase a user twice does no harm. It also erases the counters
    of a user who has no account.

    It prints what the topics of events and of dead letters still hold of USER, and for how long: Kafka cannot delete
    single messages. What switches publish of USER from now on is counted again, so let them stop first.

    \b
        ecounters user erase acme
        ecounters user erase acme --yes
    """
    settings = settings_with()
    if not yes:
        question = f"Erase all counters, the account and the sessions of {shown(user_id)}? This cannot be undone."
        click.confirm(question, abort=True, err=True)
    for line in run_to_end(settings, erase(settings, user_id)).lines():
        click.echo(line)


@user.command("token")
@click.argument("user_id", metavar="USER")
@_TOKEN_FILE
def user_token(user_id: str, token_file: str | None) -> None:
    """Replace the token of USER and print the new one.

    The old token is invalid from now on. Open sessions stay valid.
    """
    click.echo(_with_accounts(lambda accounts: accounts.new_token(user_id, token_file)))


@click.group()
def session() -> None:
    """Open and close sessions: a request can carry one in place of user and token."""


@session.command("open")
@click.argument("user_id", metavar="USER")
@click.option(
    "--agent", default="", help="Name of the agent whose session it is.  [default: none, it is the user's own]"
)
@click.option("--logged-out", is_flag=True, help="The agent is not logged in: requests are refused with 1043.")
@click.option(
    "--ttl", default="12h", show_default=True, callback=_duration, help="Lifetime, such as 90s, 30m, 12h or 7d."
)
def session_open(user_id: str, agent: str, logged_out: bool, ttl: int) -> None:
    """Open a session of USER and print its ssid, the text that requests carry.

    \b
        SSID=$(ecounters session open acme --ttl 30m)
        curl -d "{\\"ssid\\":\\"$SSID\\"}" http://127.0.0.1:8080/api/v2/overallCount/Ecounters
    """
    click.echo(_with_accounts(lambda accounts: accounts.open_session(user_id, ttl, agent, logged_in=not logged_out)))


@session.command("close")
@click.argument("ssid", required=False)
@click.option(
    "--ssid-file",
    metavar="FILE",
    type=click.File("rb"),
    callback=read_secret,
    help="A file with the ssid; - is standard input.",
)
def session_close(ssid: str | None, ssid_file: str | None) -> None:
    """Close a session.

    Other users of this machine can see SSID in the list of processes while the command runs: use --ssid-file.

    \b
        printf %s "$SSID" | ecounters session close --ssid-file -
    """
    given = either(ssid, ssid_file, "SSID and --ssid-file")
    if given is None:
        raise click.UsageError("give --ssid-file or SSID")
    _with_accounts(lambda accounts: accounts.close_session(given))
    click.echo("Closed.", err=True)
