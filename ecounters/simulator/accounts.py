"""The users of a simulation: what their calls choose from, and their balances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COST_CENTS_A_MINUTE: Final = 2
TOP_UP_BELOW_CENTS: Final = 10_000
"""A balance is topped up when it is lower than this."""


@dataclass(slots=True)
class Account:
    """One simulated user.

    ``dids``, ``campaigns``, ``ivrs``: ids that its calls have. ``agents``: how many agents it has. ``customers``: how
    many customers it has; their telephone numbers are ``first_number`` and those that follow it. A few customers call
    often and most hardly ever. ``balance_cents``, ``call_minutes``: the prepaid balance and minutes; the simulation
    changes both. ``top_up_cents``: what it adds to a low balance.
    """

    id: str
    dids: tuple[str, ...]
    campaigns: tuple[int, ...]
    ivrs: tuple[str, ...]
    agents: int
    first_number: int
    customers: int
    balance_cents: int
    call_minutes: int
    top_up_cents: int


def account_of(n: int, weight: float, calls_a_day: float) -> Account:
    """The user with index ``n``. ``weight``: its calls relative to those of the first user. Nothing is random."""
    customers = min(2_000_000, max(40, int(calls_a_day / 2)))
    top_up = TOP_UP_BELOW_CENTS + int(calls_a_day * 3 * COST_CENTS_A_MINUTE)
    return Account(
        id=f"u{n + 1}",
        dids=tuple(f"1555{n % 1000 * 1000 + k:07d}" for k in range(2 + int(12 * weight))),
        campaigns=tuple(100 + n * 10 + k for k in range(3 + int(6 * weight))),
        ivrs=tuple(str(500 + n * 10 + k) for k in range(1 + int(4 * weight))),
        agents=5 + int(200 * weight),
        # Customers have numbers from +1555 1 000 000 on. Smaller numbers are DIDs.
        first_number=15_551_000_000 + n * 7_919 % 6_900_000,
        customers=customers,
        balance_cents=top_up,
        call_minutes=int(calls_a_day * 30),
        top_up_cents=top_up,
    )
