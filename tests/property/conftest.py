"""Hypothesis profiles. "ci" draws the same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from ecounters.windows import cell, span, spans

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True
)
settings.register_profile("explore", deadline=None, database=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="module", autouse=True)
def _little_is_much() -> Iterator[None]:
    """Let a span cache its sum from the second cell on, a cell be split from the second input slot on, and steps be
    small: drawn logs rarely have many of these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(span, "FEW", 1)
        patch.setattr(cell, "INPUTS_MAX", 1)
        patch.setattr(spans, "WHOLE_SLOTS_MAX", 9)
        patch.setattr(spans, "STEP", 1)
        patch.setattr(spans, "SLOTS_STEP", 2)
        yield
