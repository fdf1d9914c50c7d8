"""Structures that are made for many things, made for few: so drawn logs, which are short, reach them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from ecounters.calls import large, lists
from ecounters.large_dict import LIMITS
from ecounters.recount.call import Limits
from ecounters.windows import cell, span, spans

FEW: Final = 18
"""The most legs, inputs, holds and IVR entries of a call in ``small_calls``: more than a call has that is not large."""


@contextmanager
def small_steps() -> Iterator[None]:
    """Let a span cache its sum from the second cell on, a cell be split from the second input slot on, a LargeDict open
    further dicts from the fourth entry on, and steps be small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LIMITS, "first_max", 3)
        patch.setattr(span, "FEW", 1)
        patch.setattr(cell, "INPUTS_MAX", 1)
        patch.setattr(spans, "WHOLE_SLOTS_MAX", 9)
        patch.setattr(spans, "STEP", 1)
        patch.setattr(spans, "SLOTS_STEP", 2)
        yield


@contextmanager
def small_calls() -> Iterator[Limits]:
    """Let the state keep FEW legs, inputs, holds and IVR entries of a call. Yields the same limits for the recount."""
    assert FEW > lists.SMALL_MAX
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "LEGS_MAX", FEW)
        patch.setattr(large, "ENTRIES_MAX", FEW)
        yield Limits(legs=FEW, inputs=FEW, holds=FEW, ivr_entries=FEW)
