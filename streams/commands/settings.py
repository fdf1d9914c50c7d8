"""``ecounters settings``."""

from __future__ import annotations

import click

from ecounters.errors import SettingsError
from streams.commands.common import settings_with
from streams.settings.table import SETTINGS, Settings, shown


@click.command()
def settings() -> None:
    """List every setting: its value, default, unit and reason.

    A setting is an environment variable. Passwords are not shown. If a setting is wrong, the list shows the defaults,
    an error says which setting it is, and the exit code is 2.
    """
    problem, now = None, Settings()
    try:
        now = settings_with()
    except SettingsError as error:
        problem = error
    rows = [("SETTING", "VALUE", "DEFAULT", "UNIT", "WHY")]
    rows += [(row.env, shown(now, row), row.default or "-", row.unit, row.why) for row in SETTINGS]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join([*(row[at].ljust(widths[at]) for at in range(4)), row[4]]))
    if problem is not None:
        raise problem
