"""A comparison with the recount does not depend on when it is made."""

from __future__ import annotations

import pytest

from ecounters.simulator.world import Published
from tests.support.accounts import add_users
from tests.support.builders import T0_MS, CallScript, call, encoded, event
from tests.support.log_publisher import USERS, LogPublisher, yesterday_ms
from tests.support.recount_check import assert_recounted
from tests.support.workers import Deployment, Worker

HOUR_S = 3_600


@pytest.mark.parametrize("limit_s", [2 * HOUR_S, 4 * HOUR_S], ids=["suspected", "reaped"])
def test_a_log_may_end_seconds_before_a_calls_time_limit(deployment: Deployment, limit_s: int) -> None:
    """A call that becomes suspected or reaped 1 s after the log's last event makes no difference to the comparison."""
    users = [f"u{n + 1}" for n in range(USERS)]
    add_users(deployment, users)
    begin_s = (yesterday_ms() - T0_MS) // 1000
    silent: list[CallScript] = [call(f"silent-{user}", user).started(begin_s).answered(begin_s) for user in users]
    events = [one for script in silent for one in script.events]
    events += [event("balance.updated", begin_s + limit_s - 1, user, balance=1) for user in users]
    with Worker(deployment).wait_ready() as worker:
        LogPublisher(deployment, [Published(one["ts"], one["userId"], encoded(one)) for one in events], rate=0).wait()
        counted = assert_recounted(deployment, [worker])
    assert sum(len(one.users()) for one in counted) == USERS
