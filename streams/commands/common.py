"""What all commands share: the settings, taken from the environment and from options."""

from __future__ import annotations

import os

from streams.settings.load import load
from streams.settings.table import PREFIX, Settings


def settings_with(**options: object) -> Settings:
    """The settings of the environment. An option that is not None replaces the variable of its name.

    For example, ``port=8081`` has the same effect as ECOUNTERS_PORT=8081. Raises SettingsError.
    """
    variables = {PREFIX + name.upper(): str(value) for name, value in options.items() if value is not None}
    return load({**os.environ, **variables})
