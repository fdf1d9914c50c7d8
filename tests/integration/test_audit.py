"""``ecounters audit`` and ``explain`` against real workers, correct and faulty ones."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from ecounters.counters.definitions import FIELDS, PAYLOAD
from ecounters.recount.counters import BALANCES, GAUGES
from ecounters.simulator.world import Plan, Published, simulate
from streams.access.store import connect, user_key
from streams.kafka.log_reader import log_reader
from tests.support.accounts import add_users
from tests.support.audits import audited, ran
from tests.support.builders import T0_MS, CallScript, Event, call, encoded, event
from tests.support.log_publisher import LogPublisher, first_messages, publish_messages, yesterday_ms
from tests.support.workers import Deployment, Worker

USERS = 8
EVENTS = 20_000
KEYS = len(PAYLOAD) + len(FIELDS - {"TC", "MC"})
NAMES = [f"u{n + 1}" for n in range(USERS)]

pytestmark = pytest.mark.usefixtures("no_users")


def plan(seed: int) -> Plan:
    """A simulation with chaos of about ten events a second of log time."""
    return Plan(yesterday_ms(), seed=seed, users=USERS, rate_per_s=1.2, chaos=True)


def test_an_audit_of_correct_workers_finds_no_difference_and_names_the_offsets(deployment: Deployment) -> None:
    """All counters of two workers equal the recount, over the whole log, over a part of it, and window by window."""
    add_users(deployment, NAMES)
    with Worker(deployment).wait_ready() as one, Worker(deployment).wait_ready() as other:
        LogPublisher(deployment, first_messages(plan(seed=1), EVENTS), rate=0, misroute_every=500).wait()
        exit_code, lines, err = audited(deployment, one, other)
        assert exit_code == 0, (lines, err)
        assert len(lines) == 1
        found = re.fullmatch(rf"equal: {USERS * KEYS} counters of {USERS} users at partition (.*)", lines[0])
        assert found is not None, lines
        at = dict(part.split(":") for part in found[1].split())
        asyncio.run(compare_ends(deployment, at))
        assert re.search(r"read [\d,]+ events in", err) and f"compared {USERS} users" in err
        since = datetime.fromtimestamp(
            yesterday_ms() / 1000 + 1_000, UTC
        ).isoformat()  # a second after the begin of the first window: the audit begins with the second
        exit_code, lines, err = audited(deployment, one, other, options=("--from", since, "--windows"))
        assert exit_code == 0, (lines, err)
        left_out = len(GAUGES) + len(BALANCES) + 2
        assert lines[0].startswith(f"equal: {USERS * (KEYS - left_out)} counters of {USERS} users")


async def compare_ends(deployment: Deployment, at: dict[str, str]) -> None:
    """Assert that the offsets in the output are the ends of the log."""
    async with log_reader(deployment.kafka, deployment.name) as reader:
        assert {int(partition): int(offset) for partition, offset in at.items()}.items() <= reader.ends.items()


def test_an_audit_lists_each_difference_with_window_values_and_calls(deployment: Deployment) -> None:
    """A worker that forgets calls too soon gives exit code 1 and a line for each counter that differs."""
    add_users(deployment, NAMES)
    LogPublisher(deployment, first_messages(plan(seed=2), EVENTS), rate=0).wait()
    with Worker(deployment.with_settings(LINGER_MS=1_000)).wait_ready() as spoilt:
        exit_code, lines, err = audited(deployment, spoilt)
        assert exit_code == 1, (lines, err)
        *differences, end = [line.split("\t") for line in lines]
        assert re.match(rf"different: {len(differences)} values of {USERS} users; {USERS * KEYS} counters of", end[0])
        windowed = [one for one in differences if one[1] != "now"]
        assert windowed and {len(one) for one in differences} == {6}
        for user, span, key, counted, recounted, calls in differences:
            assert user in NAMES and re.fullmatch(r"[A-Za-z_]+(/.+)?", key)
            assert span == "now" or re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d to \d\d:\d\d Etc/GMT.*", span), span
            assert counted.startswith("worker ") and recounted.startswith("recount ") and counted[7:] != recounted[8:]
            number, _, shown = calls.partition(" calls: ")
            if shown:
                ids = shown.split(" ")
                assert len(ids) == min(int(number), 20) + (ids[-1] == "…")
            else:
                assert calls == "0 calls"
        missed = next(one for one in windowed if one[2] == "TC")
        assert int(missed[3].split()[1]) < int(missed[4].split()[1]) == int(missed[5].split()[0])


def test_an_audit_compares_while_the_log_grows(deployment: Deployment) -> None:
    """While 500 events a second arrive, each user is compared at the offset that its reply belongs to."""
    add_users(deployment, NAMES)
    messages, enough = simulate(plan(seed=3)), threading.Event()
    with Worker(deployment).wait_ready() as worker:
        LogPublisher(deployment, itertools.islice(messages, EVENTS), rate=0).wait()
        feed = LogPublisher(deployment, itertools.takewhile(lambda _: not enough.is_set(), messages), rate=500)
        time.sleep(1)  # the log is being published
        for options in ((), ("--windows",)):
            exit_code, lines, err = audited(deployment, worker, options=options)
            assert exit_code == 0, (lines, err)
            assert lines[-1].startswith(f"equal: {USERS * KEYS} counters of {USERS} users"), lines
        assert ".." in lines[-1], "the audit was of a log at rest"
        enough.set()
        feed.wait()


def test_an_audit_names_users_that_cannot_be_asked(deployment: Deployment) -> None:
    """A user without account, permission or a zone that is known counts as a difference, unless an option is given."""
    ran(deployment, "user", "add", "denied", "--deny", "overallCount")
    ran(deployment, "user", "add", "martian")
    asyncio.run(set_zone(deployment, "martian", "Mars/Phobos"))
    log = [call("c1", "unknown"), call("c2", "denied"), call("c3", "known")]
    ran(deployment, "user", "add", "known")
    publish_all(deployment, *(script.started(since_t0()) for script in log))
    with Worker(deployment).wait_ready() as worker:
        exit_code, lines, err = audited(deployment, worker)
        assert exit_code == 1, (lines, err)
        differences = set(lines[:-1])
        assert "unknown\tnot asked: no account" in differences
        assert "denied\tnot asked: overallCount is denied" in differences
        assert "martian\tnot asked: its time zone Mars/Phobos is not known on this machine" in differences
        assert lines[-1].startswith("not known to be equal: ")
        exit_code, lines, err = audited(deployment, worker, options=("--skip-unknown",))
        assert exit_code == 0, (lines, err)
    exit_code, lines, err = ran(deployment, "explain", "--user", "martian", "--counter", "TC")
    assert (exit_code, lines, err.count("\n")) == (1, [], 1)
    assert err.startswith("ecounters: the time zone of martian is not known on this machine; ")


async def set_zone(deployment: Deployment, user: str, zone: str) -> None:
    """Write a user's time zone as a machine with other time zones might have done."""
    redis = connect(deployment.redis_url)
    await redis.hset(user_key(user).decode(), "zone", zone)
    await redis.aclose()


@pytest.mark.parametrize(
    "args",
    [
        ("audit", "--from", "soon"),
        ("audit", "--from", "1999-01-01"),
        ("audit", "--worker", "here"),
        ("explain", "--user", "u1", "--counter", "XX"),
        ("explain", "--user", "u1", "--counter", "MC/1"),
        ("explain", "--user", "u1", "--counter", "MC", "--date", "some day"),
        ("explain", "--counter", "MC"),
    ],
)
def test_an_audit_refuses_wrong_options(deployment: Deployment, args: tuple[str, ...]) -> None:
    """A wrong option gives one line that names it, and exit code 2."""
    exit_code, lines, err = ran(deployment, *args)
    assert (exit_code, lines) == (2, []), err
    assert "Traceback" not in err and "Error: " in err


def test_an_audit_of_a_missing_topic_says_so(deployment: Deployment) -> None:
    """A topic that does not exist gives one line and exit code 1."""
    exit_code, lines, err = ran(deployment.with_settings(TOPIC=f"{deployment.name}-not"), "audit")
    assert (exit_code, lines, err) == (
        1,
        [],
        f"ecounters: there is no topic {deployment.name}-not: is ECOUNTERS_TOPIC right? "
        "`ecounters topics` makes what is missing\n",
    )


def test_the_log_is_read_from_a_time_to_given_offsets(deployment: Deployment) -> None:
    """The log reader begins at a time, ends at given offsets, and leaves later records for the next read."""
    publish_all(deployment, *(call(f"a{at}", f"u{at}").started(since_t0()) for at in range(40)))
    time.sleep(0.1)
    since = int(time.time() * 1000)
    publish_all(deployment, *(call(f"b{at}", f"u{at}").started(since_t0()) for at in range(40)))

    async def read() -> None:
        async with (
            log_reader(deployment.kafka, deployment.name, since) as late,
            log_reader(deployment.kafka, deployment.name) as reader,
        ):
            assert reader.missing == {} == late.missing
            assert all(reader.begins[at] == 0 < late.begins[at] < late.ends[at] for at in range(deployment.partitions))
            found = b"".join([row[2] or b"" async for rows in late.up_to(0, late.ends[0]) for row in rows])
            assert b'"b' in found and b'"a' not in found
            steps = [0, 1, 1, 3, reader.ends[0]]
            for begin, end in pairwise(steps):
                offsets = [row[0] async for rows in reader.up_to(0, end) for row in rows]
                assert offsets == list(range(begin, end))

    asyncio.run(read())


# ------------------------------------------------------------------------------------------------- explain


def since_t0() -> int:
    """Yesterday noon, in seconds after T0_MS."""
    return (yesterday_ms() - T0_MS) // 1000 + 12 * 3_600


def publish_all(deployment: Deployment, *given: CallScript | Event) -> None:
    """Publish events in their order."""
    events = [one for part in given for one in (part.events if isinstance(part, CallScript) else [part])]
    asyncio.run(publish_messages(deployment, [Published(e["ts"], e.get("userId"), encoded(e)) for e in events], rate=0))


def test_explain_lists_the_calls_behind_a_counter(deployment: Deployment) -> None:
    """`explain` lists calls that ended, were ended by a switch, fell silent or were corrected late, and no others."""
    t, user = since_t0(), "u1"
    ran(deployment, "user", "add", user, "--zone", "Asia/Kolkata")

    def one(name: str) -> CallScript:
        return call(name, user)

    publish_all(
        deployment,
        one("ended").started(t).ringing(t + 2).ended(t + 10, status=3),
        one("answered").started(t + 1).ringing(t + 2).answered(t + 3).ended(t + 10),
        one("late").started(t + 4).ended(t + 12, status=3).ringing(t + 6),
        one("corrected").started(t + 5).ringing(t + 6).ended(t + 12, status=3).answered(t + 8),
        one("restarted").started(t + 7, switchId="s1").ringing(t + 9),
        event("switch.restarted", t + 20, user, switchId="s1"),
        one("silent").started(t + 8).ringing(t + 9),
        call("another", f"{user}2").started(t).ringing(t + 1).ended(t + 2),
        one("ended").ended(t + 11, status=3),
        event("balance.updated", t + 5 * 3_600, user, balance=1),
    )
    day = datetime.fromtimestamp(yesterday_ms() / 1000, UTC).strftime("%Y-%m-%d")
    exit_code, lines, err = ran(deployment, "explain", "--user", user, "--counter", "MC", "--date", day)
    assert exit_code == 0, err
    rows = [line.split("\t") for line in lines]
    assert [(row[0], row[2]) for row in rows] == [
        ("ended", "call.ended"), ("late", "leg.ringing"), ("restarted", "switch.restarted"),
        ("silent", "silence after leg.ringing"),
    ]  # fmt: skip
    assert [row[1] for row in rows] == [f"{day}T17:30:0{at}.000+05:30" for at in (0, 4, 7, 8)]
    assert [row[3] for row in rows] == [f"{day}T17:30:{at}.000+05:30" for at in ("10", "06", "20", "09")]
    assert rows[0][4].startswith("ended|call.ended|")
    offsets = [int(row[5]) for row in rows]
    assert offsets == sorted(offsets) and offsets[1] - offsets[0] == 7
    assert f"MC of {user} is 4, of 4 calls, from {day}T00:00:00.000+05:30" in err
    for key, date, expected in (
        ("CST/3", day, ["ended", "late", "corrected"]), ("CNC", f"{day} 17:30:00", ["answered", "corrected"]),
        ("GHC", day, []), ("MC", f"{day} 17:00:00..{day} 17:30:00", []), ("CST/-1", f"{day}..today", ["silent"]),
    ):  # fmt: skip
        exit_code, lines, err = ran(deployment, "explain", "--user", user, "--counter", key, "--date", date)
        assert (exit_code, [line.split("\t")[0] for line in lines]) == (0, expected), (key, err)
