"""Planned moves: workers end, start and share out their partitions anew, and nobody is without an answer."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from streams.web.paths import READY_PATH
from streams.worker import TOLD_TO_END
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited
from tests.support.moves import Asker, Calls, restart_in_turn, users_of
from tests.support.nginx import NGINX, Nginx
from tests.support.published_calls import wait_for_counter
from tests.support.workers import Deployment, Worker

WITHOUT_MAX_S = 0.5
BUSY = 3
"""Limits in seconds are multiplied by this: the machine is busy with a broker and other tests. `make moves` has 1."""


@pytest.fixture
def workers(deployment: Deployment) -> list[Worker]:
    """Three workers that share four partitions; each partition has a user."""
    add_users(deployment, users_of(deployment.partitions))
    here = deployment.with_settings(DRAIN_S=1)
    return [Worker(here).wait_ready() for _ in range(3)]


@pytest.mark.usefixtures("no_users")
@pytest.mark.skipif(not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="`make test-kafka` runs it on Apache Kafka")
@pytest.mark.skipif(NGINX is None, reason="there is no nginx")
def test_workers_are_restarted_behind_nginx_and_nobody_notices(
    deployment: Deployment, workers: list[Worker], tmp_path: Path
) -> None:
    """Three workers are restarted: all questions get 200, soon, and never fewer calls; then the audit is equal."""
    users = users_of(deployment.partitions)
    calls = Calls(deployment, users)
    with Nginx(tmp_path / "nginx", "ecounters.conf", [worker.port for worker in workers]) as nginx:
        answers = Asker(users, nginx.port).ask_while(lambda: restart_in_turn(workers[0].deployment, workers, range(3)))
    calls.stop()
    assert (answers.failed, answers.went_back) == ([], []), str(answers)
    assert answers.asked > 200
    assert answers.incomplete
    assert answers.longest_s < WITHOUT_MAX_S * BUSY, str(answers)
    code, lines, errors = audited(deployment, *workers)
    assert code == 0, (lines, errors)


def test_a_worker_that_is_told_to_end_answers_until_others_do(deployment: Deployment) -> None:
    """From SIGTERM on it is not ready, and answers as before; then from what it has, until others have it."""
    users = users_of(deployment.partitions)
    add_users(deployment, users)
    calls = Calls(deployment, users)
    here = deployment.with_settings(DRAIN_S=3)
    ending, other = (Worker(here).wait_ready() for _ in range(2))
    other.wait_ready()
    calls.stop()
    for user in users:
        wait_for_counter(ending, user, "TC", calls.count[user])
    began = time.monotonic()
    ending.process.send_signal(signal.SIGTERM)
    said, complete, at_drain = "", set[str](), 0.0
    while ending.process.poll() is None:
        try:
            said = ending.why_not_ready()
            replies = [ending.ask({"userId": user, "token": TOKEN}) for user in users]
        except OSError:
            break  # it has ended in this moment
        assert said == "this worker is being stopped"
        assert [reply.status for reply in replies] == [200] * len(users)
        assert [reply.json["message"]["TC"] for reply in replies] == [calls.count[user] for user in users]
        complete |= {reply.headers["X-Ecounters-Complete"] for reply in replies}
        if complete == {"true"}:
            at_drain = time.monotonic() - began
    ending.wait_ended_in_order()
    assert at_drain > 2.5
    assert complete == {"true", "false"}
    assert other.wait_ready().metric("ecounters_partitions") == deployment.partitions
    for user in users:
        assert other.ask({"userId": user, "token": TOKEN}).json["message"]["TC"] == calls.count[user]


def test_a_second_signal_ends_the_drain(deployment: Deployment) -> None:
    """The worker says at the first signal that it will, and still ends in order."""
    with Worker(deployment.with_settings(DRAIN_S=600)).wait_ready() as worker:
        worker.process.send_signal(signal.SIGTERM)
        while worker.request("GET", READY_PATH).status == 200:
            time.sleep(0.02)
        assert worker.request("GET", "/healthz").status == 200
        assert worker.log.read_text().count(TOLD_TO_END % 600) == 1
        began = time.monotonic()
        worker.process.send_signal(signal.SIGINT)
        worker.wait_ended_in_order()
        assert time.monotonic() - began < 5 * BUSY
