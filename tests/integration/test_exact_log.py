"""The promise "exact": the counters of a long log with all that goes wrong on its way equal a recount.

No worker is killed and no broker makes a difference here: test_exact_after_kills.py is for these.
"""

from __future__ import annotations

from tests.support.accounts import add_users
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, first_messages
from tests.support.recount_check import assert_recounted
from tests.support.workers import Deployment, Worker


def test_200_000_events_with_chaos_give_exactly_the_recount(deployment: Deployment) -> None:
    """Every counter of every user equals the recount of a log with chaos and misrouted messages."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    messages = first_messages(chaos_plan(seed=1), 200_000)
    with Worker(deployment).wait_ready() as worker:
        LogPublisher(deployment, messages, rate=0, misroute_every=500).wait()
        misrouted = sum(len(recount.misrouted) for recount in assert_recounted(deployment, [worker]))
        assert worker.metric("ecounters_events_misrouted_total") == misrouted > 300
