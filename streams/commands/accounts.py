"""``ecounters user`` and ``ecounters session``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from streams.access.accounts import Accounts
from streams.access.store import PERMISSIONS
from streams.basics.times import duration_s
from streams.commands.common import settings_with
from streams.settings.table import Settings
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


@click.group()
def user() -> None:
    """Add, list and remove users, and give them new tokens."""


@user.command("add")
@click.argument("user_id", metavar="USER")
@click.option("--token", help="The user's token.  [default: a random one]")
@click.option("--zone", help="The user's time zone, such as Asia/Kolkata.  [default: ECOUNTERS_ZONE]")
@click.option(
    "--deny", type=click.Choice(PERMISSIONS), multiple=True, help="Deny a permission; can be given more than once."
)
def user_add(user_id: str, token: str | None, zone: str | None, deny: tuple[str, ...]) -> None:
    """Add USER and print its token.

    The token is not stored in readable form, so it cannot be shown again. `ecounters user token` gives a new one.

    \b
        ecounters user add acme --zone Asia/Kolkata
        TOKEN=$(ecounters user add acme)
    """
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


@user.command("remove")
@click.argument("user_id", metavar="USER")
def user_remove(user_id: str) -> None:
    """Remove USER and end all its sessions.

    Its counters stay until they are older than ECOUNTERS_KEEP_DAYS.
    """
    _with_accounts(lambda accounts: accounts.remove_user(user_id))
    click.echo(f"Removed {user_id}.", err=True)


@user.command("token")
@click.argument("user_id", metavar="USER")
def user_token(user_id: str) -> None:
    """Replace the token of USER and print the new one.

    The old token is invalid from now on. Open sessions stay valid.
    """
    click.echo(_with_accounts(lambda accounts: accounts.new_token(user_id)))


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
@click.argument("ssid")
def session_close(ssid: str) -> None:
    """Close the session SSID."""
    _with_accounts(lambda accounts: accounts.close_session(ssid))
    click.echo("Closed.", err=True)
