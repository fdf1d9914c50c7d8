"""Secrets as input of commands: from a file or from standard input.

Other users of the machine can read the arguments of a running command in the list of processes, and shells keep them in
their history.
"""

from __future__ import annotations

from typing import BinaryIO, Final

import click

INPUT_BYTES_MAX: Final = 4_096
"""The most bytes that are read. Longer input is no secret, but a mistake."""


def read_secret(context: click.Context, option: click.Parameter, file: BinaryIO | None) -> str | None:
    """click callback: the secret in a file, without the line break at its end; None without a file.

    Refuses a file that holds more or less than one line of text.
    """
    if file is None:
        return None
    with file:  # click leaves standard input open here
        content = file.read(INPUT_BYTES_MAX + 1)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise click.BadParameter("it is no text in UTF-8") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or len(content) > INPUT_BYTES_MAX or len(secret.splitlines()) > 1:
        raise click.BadParameter("it must hold one line with the secret, and nothing else")
    return secret


def either(secret: str | None, from_file: str | None, names: str) -> str | None:
    """The secret that was given, by itself or in a file; None if neither was. Raises UsageError if both were.

    ``names``: both ways to give the secret, for the message.
    """
    if secret is not None and from_file is not None:
        raise click.UsageError(f"give one of {names}, not both")
    return from_file if secret is None else secret
