"""Running other tests on secured brokers: which settings take the processes of a deployment to a secured listener.

``python -m tests.support.kafka --secured`` and ``python -m tests.faults --secured`` set the variable. The tests' own
clients stay at the listener PLAINTEXT; workers and commands log in by SCRAM-SHA-512 over TLS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final

SECURED: Final = "ECOUNTERS_TEST_SECURED"
"""The variable: JSON, address of a cluster's plain listener -> settings without ECOUNTERS_. Unset: none is secured."""


def is_on() -> bool:
    """Whether clusters that tests start are to be secured."""
    return SECURED in os.environ


def turn_on() -> None:
    """Let clusters that are started from now on be secured, in this process and its children."""
    os.environ.setdefault(SECURED, "{}")


def note(address: str, settings: Mapping[str, object]) -> None:
    """Let the processes of a deployment at this address have these settings."""
    known = json.loads(os.environ[SECURED])
    os.environ[SECURED] = json.dumps({**known, address: {name: str(value) for name, value in settings.items()}})


def settings_of(address: str) -> dict[str, object]:
    """The settings for processes of a deployment at this address; {} if nothing is secured there."""
    found: dict[str, object] = json.loads(os.environ.get(SECURED, "{}")).get(address, {})
    return found
