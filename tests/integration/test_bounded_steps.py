"""Logs that are made to keep a worker busy: no step of its event loop is long, and no record is large."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import pytest

from ecounters.windows.calendar import DAY_MS, HOUR_MS, WINDOW_MS
from streams.basics.terminal import Progress
from streams.kafka.publisher import Outgoing
from streams.tools.publish import at_speed, publish
from streams.web.paths import SERIES_PATHS
from tests.support import event_attacks
from tests.support.accounts import add_users, open_session
from tests.support.log_publisher import yesterday_ms
from tests.support.loop_pauses import ROLLING_UP, longest_step
from tests.support.replies import CREDENTIALS
from tests.support.stream_listener import StreamListener
from tests.support.topics import read_topic, wait_until_flushed
from tests.support.workers import Deployment, Worker

BUSY_MAX: Final = 4.0
"""No step of the loop may take so many units of ``Step.busy``, of some 13 ms. On a quiet machine they take up to 0.9.
What a virtual machine's host takes meanwhile is counted as the step's. Each of these attacks had steps of 250 ms and
more, some 19 units."""
RECORD_BYTES_MAX: Final = 512 * 1024
LIMIT_S: Final = 60.0


@pytest.fixture
def deployment(deployment: Deployment) -> Deployment:
    """Whole inputs are kept, of up to 12 digits.

    A time slice has half of its usual length, so that what a virtual machine adds to a step now and then, some 10 ms,
    is within what the usual length leaves.
    """
    return deployment.with_settings(DTMF_DIGITS=12, SLICE_MS=5)


@pytest.fixture
def worker(deployment: Deployment) -> Iterator[Worker]:
    """A worker that is measured and rolls up every second. Nothing of its start counts."""
    add_users(deployment, ["u1"])
    with Worker(deployment, launcher=ROLLING_UP).wait_ready() as started:
        started.ask(CREDENTIALS)
        longest_step(started)
        yield started


def feed(deployment: Deployment, messages: Iterable[Outgoing]) -> None:
    """Publish messages as fast as possible, and wait until they are flushed."""
    asyncio.run(publish(messages, deployment.kafka, deployment.name, at_speed(0), Progress("published")))
    wait_until_flushed(deployment)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition is true. AssertionError after LIMIT_S."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def reply_for(worker: Worker, begin: int, end: int) -> tuple[str, dict[str, Any]]:
    """(the range that is counted, the counters) for [begin, end) in ms."""
    reply = worker.ask({**CREDENTIALS, "filter": [{"field": "date", "op": "between", "value": [begin, end - 1]}]})
    assert reply.status == 200, reply.body
    return reply.headers["X-Ecounters-Range"], reply.json["message"]


def assert_short_steps(worker: Worker) -> None:
    """Assert that no step of the loop was long since this was asserted last, and that each flush wrote everything."""
    step = longest_step(worker)
    print(step)
    assert step.busy < BUSY_MAX, step
    assert worker.metric("ecounters_records_left_out_total") == 0
    assert "could not be flushed" not in worker.log.read_text()


def largest_record(deployment: Deployment) -> int:
    """The size of the largest record of the changelog, in bytes."""
    topic = f"{deployment.name}-state-changelog"
    records = asyncio.run(read_topic(deployment.broker, topic, "read_committed"))
    return max(len(one.key) + len(one.value or b"") for found in records.values() for one in found)


def test_70_000_inputs_of_a_day_are_rolled_up_and_saved(deployment: Deployment, worker: Worker) -> None:
    """The day's cell is split over records; the partition is saved, and restored by another worker alike."""
    begin = yesterday_ms() - 3 * DAY_MS
    feed(deployment, event_attacks.many_inputs(begin))
    noon = begin + 12 * HOUR_MS
    quarter = reply_for(worker, noon, noon + WINDOW_MS)
    assert len(quarter[1]["DTMF"]) == quarter[1]["TC"] < event_attacks.INPUTS / 90
    feed(deployment, [event_attacks.watermark(begin + 4 * DAY_MS)])
    wait_until(lambda: reply_for(worker, noon, noon + WINDOW_MS)[0] != quarter[0])  # a day counts whole
    feed(deployment, [event_attacks.watermark(begin + 4 * DAY_MS + 1)])
    counted = reply_for(worker, begin, begin + DAY_MS)
    assert counted[1]["TC"] == len(counted[1]["DTMF"]) == event_attacks.INPUTS
    assert_short_steps(worker)
    assert largest_record(deployment) < RECORD_BYTES_MAX
    worker.end()
    with Worker(deployment).wait_ready() as another:
        assert reply_for(another, begin, begin + DAY_MS) == counted


def test_large_calls_keep_nothing_busy(deployment: Deployment, worker: Worker) -> None:
    """45,000 inputs of one call, 50,000 legs of another, and 10,000 IVR entries of one time."""
    begin = yesterday_ms()
    feed(deployment, event_attacks.many_key_presses(begin))
    feed(deployment, event_attacks.many_legs(begin))
    feed(deployment, event_attacks.many_ivr_entries(begin))
    refused = event_attacks.KEY_PRESSES - 1_000 + event_attacks.LEGS - 200 + event_attacks.IVR_ENTRIES - 1_000
    assert worker.metric("ecounters_events_refused_total") == refused
    assert reply_for(worker, begin, begin + DAY_MS)[1]["TC"] == 3
    assert_short_steps(worker)
    assert largest_record(deployment) < RECORD_BYTES_MAX


def test_100_000_live_calls_of_as_many_dids_end_at_once(deployment: Deployment, worker: Worker) -> None:
    """They are asked for, whole, with a filter, as a series and as a stream; then their switch restarts 100 times."""
    begin, count = yesterday_ms(), event_attacks.DIDS
    feed(deployment, event_attacks.many_dids(begin))
    span = begin, begin + DAY_MS
    message = reply_for(worker, *span)[1]
    assert len(message["DID"]) == len(message["LDID"]) == message["TC"] == count
    date = {"field": "date", "op": "between", "value": [begin, begin + DAY_MS - 1]}
    filtered = {**CREDENTIALS, "filter": [date, {"field": "did", "op": "ne", "value": "7"}]}
    assert worker.ask(filtered).json["message"]["TC"] == count - 1
    series = {**CREDENTIALS, "filter": [date], "interval": "15m"}
    steps = worker.request("POST", SERIES_PATHS[0], series, {"Accept-Encoding": "gzip"})
    assert steps.status == 200 and steps.headers["Content-Encoding"] == "gzip"
    with StreamListener(worker, {"ssid": open_session(deployment), "filter": json.dumps([date])}) as stream:
        assert stream.until().json["message"] == message
    assert worker.metric("ecounters_live_calls") == count
    assert_short_steps(worker)
    feed(deployment, event_attacks.many_restarts(begin + HOUR_MS))
    message = reply_for(worker, *span)[1]
    assert (message["CST"], message["LDID"], len(message["DID"])) == ({"-2": count}, {}, count)
    feed(deployment, [event_attacks.watermark(begin + 30 * HOUR_MS)])
    assert_short_steps(worker)
    assert largest_record(deployment) < RECORD_BYTES_MAX


def test_200_000_numbers_are_forgotten_at_once(deployment: Deployment, worker: Worker) -> None:
    """As many calls have ended before, and their records are dropped."""
    begin, count = yesterday_ms() - 2 * DAY_MS, event_attacks.NUMBERS
    feed(deployment, event_attacks.many_numbers(begin))
    feed(deployment, [event_attacks.watermark(begin + HOUR_MS)])
    assert worker.metric("ecounters_kept_calls") == 0
    feed(deployment, [event_attacks.watermark(begin + 30 * HOUR_MS)])
    assert_short_steps(worker)
    feed(deployment, event_attacks.many_numbers(begin + 30 * HOUR_MS, 1_000))
    assert reply_for(worker, begin, begin + 2 * DAY_MS)[1]["freshCall"] == count + 1_000
