"""Trying drawn inputs on a target until the time is over, and making what fails as short as possible."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ROUND: Final = 50
"""So many inputs are drawn from one seed. The next round has the next seed."""
SHORTEN_S: Final = 60.0
"""A fault's input is made shorter for at most this long."""

S = TypeVar("S", bytes, list[Any])


class Target(Protocol):
    """What inputs are tried on.

    ``name``: for the terminal and ``--only``. ``inputs``: what is drawn.
    """

    name: ClassVar[str]
    inputs: ClassVar[st.SearchStrategy[Any]]

    def check(self, given: Any) -> None:
        """Try one input. Whatever is raised is a fault."""

    def told(self, given: Any) -> str:
        """An input that failed, for the terminal: as short as it can be made."""


@dataclass(frozen=True)
class Tried:
    """How many inputs were tried; what failed, and from which seed it was drawn. ``fault``: "" if nothing failed."""

    inputs: int
    fault: str = ""
    seed: int = 0


def try_until(target: Target, first_seed: int, until: float) -> Tried:
    """Try inputs until the monotonic clock says ``until``, or the first fault. At least one round is tried."""
    inputs, at = 0, first_seed
    while True:
        tried = _try_round(target, at)
        inputs += tried.inputs
        if tried.fault or time.monotonic() >= until:
            return Tried(inputs, tried.fault, at)
        at += 1


def _try_round(target: Target, round_seed: int) -> Tried:
    """Try inputs that are drawn from one seed, until one fails."""
    inputs, failed = 0, ""

    @seed(round_seed)
    @settings(
        max_examples=ROUND,
        phases=[Phase.generate],
        derandomize=False,  # a profile of the property tests may say otherwise; then all rounds would be the same
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def try_one(drawn: Any) -> None:
        nonlocal inputs, failed
        if failed:
            return
        inputs += 1
        error = error_of(target.check, drawn)
        if error:
            failed = f"{target.told(drawn)}\n{error}"

    try_one()
    return Tried(inputs, failed, round_seed)


def error_of(check: Callable[[Any], None], given: Any) -> str:
    """The traceback of what a check raises; "" if it raises nothing."""
    try:
        check(given)
    except Exception:
        return traceback.format_exc()
    return ""


def shortest(given: S, check: Callable[[Any], None]) -> S:
    """What is left of bytes or a list that fails, if parts are removed as long as the rest fails; for SHORTEN_S."""
    deadline = time.monotonic() + SHORTEN_S
    size = len(given)
    while size:
        begin = 0
        while begin < len(given) and time.monotonic() < deadline:
            shorter = given[:begin] + given[begin + size :]
            if error_of(check, shorter):
                given = shorter
            else:
                begin += size
        size //= 2
    return given


def one_a_line(items: Sequence[object]) -> str:
    """Items, one a line."""
    return "\n".join(map(str, items))
