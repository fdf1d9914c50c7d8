"""`make fuzz` against a real worker, for a moment."""

from __future__ import annotations

from tests.fuzz.requests import LOOK_EVERY, Requests
from tests.fuzz.rounds import try_until


def test_a_worker_withstands_some_odd_requests() -> None:
    """It replies to each, and is as before at the end."""
    with Requests() as target:
        tried = try_until(target, 1, 0.0)
        assert not tried.fault, tried.fault
        assert 0 < tried.inputs < LOOK_EVERY
        target.finish()
