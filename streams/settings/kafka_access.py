"""``refuse_contradictions``: whether the settings about the access to Kafka fit one another."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ecounters.errors import SettingsError
from streams.basics.text import shown_path
from streams.basics.tls import client_context
from streams.settings.table import Settings

OAUTH: Final = "OAUTHBEARER"
TOKEN_BYTES_MAX: Final = 65_536
"""The most bytes of a file with a token."""


def refuse_contradictions(settings: Settings) -> None:
    """Raise SettingsError, with one line that names the variable, if these settings cannot be right together.

    Reads the files of certificates, key and token, so that one which is missing or damaged stops the start.
    """
    has_sasl, has_tls = "sasl" in settings.kafka_protocol, "ssl" in settings.kafka_protocol
    sasl_names, tls_names = ("mechanism", "user", "password", "token_file"), ("ca", "cert", "key")
    for names, has, needs in ((sasl_names, has_sasl, "sasl_ssl"), (tls_names, has_tls, "ssl or sasl_ssl")):
        given = next((name for name in names if getattr(settings, f"kafka_{name}")), "")
        if given and not has:
            raise SettingsError(
                f"{_env(given)} is set, and ECOUNTERS_KAFKA_PROTOCOL {settings.kafka_protocol} does not use it; is "
                f"{needs} meant?"
            )
    if has_sasl:
        _refuse_sasl(settings)
    if has_tls:
        _refuse_tls(settings)


def _refuse_sasl(settings: Settings) -> None:
    mechanism = settings.kafka_mechanism
    if not mechanism:
        raise _missing("mechanism", f"ECOUNTERS_KAFKA_PROTOCOL {settings.kafka_protocol}")
    wanted = ("token_file",) if mechanism == OAUTH else ("user", "password")
    for name in ("token_file", "user", "password"):
        value = getattr(settings, f"kafka_{name}")
        if name in wanted and not value:
            raise _missing(name, mechanism)
        if name not in wanted and value:
            raise SettingsError(f"{_env(name)} is set, and ECOUNTERS_KAFKA_MECHANISM {mechanism} does not use it")
    if mechanism == OAUTH:
        try:
            read_token(settings.kafka_token_file)
        except ValueError as why:
            raise SettingsError(f"ECOUNTERS_KAFKA_TOKEN_FILE is wrong: {why}") from None


def _refuse_tls(settings: Settings) -> None:
    if settings.kafka_key and not settings.kafka_cert:
        raise _missing("cert", "ECOUNTERS_KAFKA_KEY")
    for names in (("ca",), ("cert", "key")):
        files = {"certificate" if name == "cert" else name: getattr(settings, f"kafka_{name}") for name in names}
        try:
            client_context(**files)
        except ValueError as why:
            raise SettingsError(f"{' or '.join(map(_env, names))} is wrong: {why}") from None


def read_token(path: str) -> str:
    """The token in a file, without white space around it. Raises ValueError, whose text never holds the token."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"{shown_path(path)} cannot be read: {error.strerror}") from None
    token = content.strip()
    if not token or len(content) > TOKEN_BYTES_MAX or not token.isascii() or any(byte <= 0x20 for byte in token):
        raise ValueError(f"{path} holds no token: one word of ASCII, at most {TOKEN_BYTES_MAX} bytes")
    return token.decode("ascii")


def _env(name: str) -> str:
    return f"ECOUNTERS_KAFKA_{name.upper()}"


def _missing(name: str, needed_by: str) -> SettingsError:
    return SettingsError(f"{_env(name)} is missing: {needed_by} needs it")
