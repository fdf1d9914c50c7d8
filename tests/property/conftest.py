"""Hypothesis profiles. "ci" draws the same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from ecounters.windows import spans as cells

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True
)
settings.register_profile("explore", deadline=None, database=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="module", autouse=True)
def _sums_are_kept() -> Iterator[None]:
    """Let a span cache its sum from the second cell on: drawn logs rarely have spans of many cells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "FEW", 1)
        yield
