"""What commands share: settings from the environment and options."""

from __future__ import annotations

import os

from streams.settings.load import load
from streams.settings.table import PREFIX, Settings


def settings_with(**options: object) -> Settings:
    """The settings of the environment; options that were given stand in for the variables of their names."""
    given = {PREFIX + name.upper(): str(value) for name, value in options.items() if value is not None}
    return load({**os.environ, **given})
