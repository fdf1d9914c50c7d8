"""Hypothesis profiles. "ci" draws the same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.small_structures import small_steps

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True
)
settings.register_profile("explore", deadline=None, database=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="module", autouse=True)
def _little_is_much() -> Iterator[None]:
    """Make structures for few things: drawn logs rarely have many."""
    with small_steps():
        yield
