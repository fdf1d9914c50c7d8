"""``load``: from environment variables to checked ``Settings``."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ecounters.errors import SettingsError
from streams.basics.addresses import host_port
from streams.basics.text import is_path
from streams.basics.tls import client_context
from streams.settings.kafka_access import refuse_contradictions
from streams.settings.parsers import optional_path
from streams.settings.redis_urls import has_tls
from streams.settings.table import PREFIX, SETTINGS, Setting, Settings, masked

TEST_PREFIX: Final = "ECOUNTERS_TEST_"
"""Variables that begin like this belong to the test suite. ``load`` ignores them."""
BUILD_NAME: Final = "ECOUNTERS_PURE"
"""This variable is for the build, see ``deploy/build_hook.py``. ``load`` ignores it."""
FILE_SUFFIX: Final = "_FILE"
"""Each secret can also be in a file: ECOUNTERS_REDIS_FILE names a file that holds the value of ECOUNTERS_REDIS."""
SECRET_BYTES_MAX: Final = 65_536
"""The most bytes of a file with a secret."""
_LINK_NAME: Final = re.compile(r".*_SERVICE_(HOST|PORT(_.*)?)|.*_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")
_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://.*")
VALUE_SHOWN_MAX: Final = 80
"""Characters of a wrong value that an error message quotes, so that the message stays one short line."""


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in ``environ``, with defaults for those that are missing.

    Variables that do not begin with ``ECOUNTERS_`` are ignored, and so are BUILD_NAME, those of TEST_PREFIX, and
    service links. A secret is read from the file that its variable with FILE_SUFFIX names. Raises SettingsError, with
    one line that names the variable: for an unknown name, for a value that its parser refuses, for a file that cannot
    be read, for two values that contradict each other, and for a missing ECOUNTERS_ADVERTISE if the host is 0.0.0.0 or
    ``::``.
    """
    rows = {row.env: row for row in SETTINGS}
    files = {row.env + FILE_SUFFIX: row for row in SETTINGS if row.secret}
    values: dict[str, Any] = {}
    for name in sorted(environ):
        ignored = name == BUILD_NAME or name.startswith(TEST_PREFIX) or _is_service_link(name, environ[name])
        if not name.startswith(PREFIX) or ignored:
            continue
        if name in files and files[name].env in environ:
            raise SettingsError(f"{name} and {files[name].env} are both set; which one is right?")
        row = rows.get(name) or files.get(name)
        if row is None:
            nearest = difflib.get_close_matches(name, [*rows, *files], n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is no setting; did you mean {nearest}? `ecounters settings` lists them all")
        text = _secret_in(name, Path(environ[name])) if name in files else environ[name]
        values[row.field] = _parsed(row, name, text)
    return _consistent(Settings(**values))


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes has set this variable, to tell each pod of a Service whose name begins with "ecounters".

    For a Service ``ecounters`` these are ECOUNTERS_SERVICE_HOST, ECOUNTERS_PORT=tcp://…, ECOUNTERS_PORT_8080_TCP_ADDR
    and more like them.
    """
    return _LINK_NAME.fullmatch(name) is not None or (name.endswith("PORT") and _LINK_URL.fullmatch(value) is not None)


def _secret_in(name: str, path: Path) -> str:
    """The secret in a file, without the line break at its end. ``name``: the variable that names the file."""
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        why = "it is no text in UTF-8"
    else:
        if secret and len(content) <= SECRET_BYTES_MAX:
            return secret
        why = f"it has more than {SECRET_BYTES_MAX} bytes" if secret else "it is empty"
    shown = f" {_quoted(str(path))}" if is_path(str(path)) else ""
    raise SettingsError(f"{name}{shown} is wrong: {why}")


def _parsed(row: Setting, name: str, text: str) -> Any:
    """The value of a setting. ``name``: the variable that gave the text, or the file with it."""
    try:
        return row.parse(text)
    except ValueError as why:
        # A malformed value can hold a password that ``masked`` would not recognise, so any "@" hides the value. What is
        # no path of a file may be the file's content, such as a key.
        hidden = row.secret or "@" in text or row.parse is optional_path
        raise SettingsError(f"{name}{'' if hidden else ' ' + _quoted(text)} is wrong: it {why}") from None


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
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError("ECOUNTERS_TLS_CERT and ECOUNTERS_TLS_KEY must be given both or not at all")
    if settings.admin_port == settings.port:
        raise SettingsError(f"ECOUNTERS_ADMIN_PORT {settings.admin_port} is wrong: it must not be ECOUNTERS_PORT")
    refuse_contradictions(settings)
    if settings.redis_ca and not has_tls(settings.redis):
        raise SettingsError(f"ECOUNTERS_REDIS_CA is set, and ECOUNTERS_REDIS {masked(settings.redis)} is without TLS")
    for name, ca in (("REDIS_CA", settings.redis_ca), ("TLS_CA", settings.tls_ca)):
        try:
            if ca:
                client_context(ca)
        except ValueError as why:
            raise SettingsError(f"ECOUNTERS_{name} is wrong: {why}") from None
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
