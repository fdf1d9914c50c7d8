"""``load``: from environment variables to checked ``Settings``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, Final

from ecounters.errors import SettingsError
from streams.basics.addresses import host_port
from streams.settings.table import PREFIX, SETTINGS, Settings

TEST_PREFIX: Final = "ECOUNTERS_TEST_"
"""Variables that begin like this belong to the test suite. ``load`` ignores them."""
VALUE_SHOWN_MAX: Final = 80
"""Characters of a wrong value that an error message quotes, so that the message stays one short line."""


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in ``environ``, with defaults for those that are missing.

    Variables that do not begin with ``ECOUNTERS_`` are ignored, and so are those of TEST_PREFIX. Raises SettingsError,
    with one line that names the variable: for an unknown name, for a value that its parser refuses, for two values that
    contradict each other, and for a missing ECOUNTERS_ADVERTISE if the host is 0.0.0.0 or ``::``.
    """
    rows = {row.env: row for row in SETTINGS}
    values: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        if name not in rows:
            nearest = difflib.get_close_matches(name, rows, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is no setting; did you mean {nearest}? `ecounters settings` lists them all")
        row = rows[name]
        try:
            values[row.field] = row.parse(environ[name])
        except ValueError as why:
            # A malformed value can hold a password that ``masked`` would not recognise, so any "@" hides the value.
            hidden = row.secret or "@" in environ[name]
            value = "" if hidden else f" {_quoted(environ[name])}"
            raise SettingsError(f"{name}{value} is wrong: it {why}") from None
    return _consistent(Settings(**values))


def _consistent(settings: Settings) -> Settings:
    """The same settings, with ``advertise`` set to host and port if it is empty.

    Raises SettingsError if two settings contradict each other, or if other workers could not reach that host.
    """
    if settings.suspect_after_ms > settings.max_call_ms:
        raise SettingsError(
            f"ECOUNTERS_SUSPECT_AFTER_MS {settings.suspect_after_ms} is wrong: it must not be above "
            f"ECOUNTERS_MAX_CALL_MS {settings.max_call_ms}, when a silent call has ended already"
        )
    if settings.keep_days_ms < settings.keep_windows_ms:
        raise SettingsError(
            f"ECOUNTERS_KEEP_DAYS {settings.keep_days} is wrong: it must not be less than "
            f"ECOUNTERS_KEEP_WINDOWS_H {settings.keep_windows_h}"
        )
    if settings.advertise:
        return settings
    if settings.host in ("0.0.0.0", "::"):
        raise SettingsError(
            f"ECOUNTERS_ADVERTISE is missing: ECOUNTERS_HOST {settings.host} is no address that other workers can "
            "reach; give the host:port at which they reach this one"
        )
    return dataclasses.replace(settings, advertise=host_port(settings.host, settings.port))


def _quoted(text: str) -> str:
    """A wrong value as an error message quotes it: on one line, at most VALUE_SHOWN_MAX characters."""
    quoted = repr(text)
    return quoted if len(quoted) <= VALUE_SHOWN_MAX else quoted[: VALUE_SHOWN_MAX - 3] + "...'"
