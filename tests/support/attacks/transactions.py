"""Row 5: calls in transactions that are aborted, or whose producer dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.support.attacks.event_attack import BEFORE_MS, Round, users_of
from tests.support.attacks.scene import Scene
from tests.support.transactions import die_in_transaction, publish_transaction, take_over

CALLS: Final = 20
TIMEOUT_MS: Final = 60_000
TRANSACTIONS_USER: Final = next(users_of("transactions-"))


def unfinished_calls(one: Round) -> Iterator[bytes]:
    """The events of 20 calls."""
    for at in range(CALLS):
        yield from one.encoded(one.call(str(at)).started(0, "IBD").ringing(1).answered(2))


def aborted_and_open(scene: Scene) -> None:
    """20 calls are aborted, and 20 are in a transaction whose producer dies: none is counted."""
    user = TRANSACTIONS_USER
    aborted, open_ = (unfinished_calls(Round(user, scene.now_ms() - BEFORE_MS, name)) for name in ("abort", "die"))
    publish_transaction(scene.deployment, user, *aborted, commit=False)
    take_over(scene.deployment, die_in_transaction(scene.deployment, user, *open_, timeout_ms=TIMEOUT_MS))
    assert scene.wait_counted(user)["TC"] == 0
