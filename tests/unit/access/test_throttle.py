"""How wrong credentials are counted."""

from __future__ import annotations

import pytest

from ecounters.errors import RequestRefused
from streams.access.throttle import COUNTED_MAX, Throttle

LIMIT = 20


class Clock:
    """Seconds that go on when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's."""
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    """A throttle without counts."""
    return Throttle(LIMIT, clock)


def wait_s(throttle: Throttle, address: str, user: str | None) -> int:
    """How long this address and user must wait, in s; 0: not at all."""
    try:
        throttle.check(address, user)
    except RequestRefused as refused:
        assert (refused.code, refused.http_status) == (1015, 429)
        return refused.retry_after_s
    return 0


def test_more_than_the_limit_in_a_minute_must_wait_for_its_end(throttle: Throttle, clock: Clock) -> None:
    """The minute begins with the first wrong credentials; after it the count begins anew."""
    for _ in range(LIMIT):
        assert wait_s(throttle, "10.0.0.1", "u1") == 0
        throttle.count("10.0.0.1", "u1")
        clock.now += 1
    assert wait_s(throttle, "10.0.0.1", "u1") == 40
    clock.now += 39.5
    assert wait_s(throttle, "10.0.0.1", "u1") == 1
    clock.now += 0.5
    assert wait_s(throttle, "10.0.0.1", "u1") == 0
    throttle.count("10.0.0.1", "u1")
    assert wait_s(throttle, "10.0.0.1", "u1") == 0


def test_addresses_and_users_are_counted_each_for_itself(throttle: Throttle) -> None:
    """One address that tries many users, and many addresses that try one user; others are left alone."""
    for at in range(LIMIT):
        throttle.count("10.0.0.1", f"u{at}")
        throttle.count(f"10.1.0.{at}", "victim")
    assert wait_s(throttle, "10.0.0.1", "somebody")
    assert wait_s(throttle, "10.0.0.1", None)
    assert wait_s(throttle, "10.9.9.9", "victim")
    assert not wait_s(throttle, "10.9.9.9", "u1")
    assert not wait_s(throttle, "10.9.9.9", None)


def test_an_ipv6_client_is_its_network(throttle: Throttle) -> None:
    """A client that has one address of a /64 can use all of them."""
    for at in range(LIMIT):
        throttle.count(f"2001:db8::{at:x}", None)
    assert wait_s(throttle, "2001:db8::ffff:1", None)
    assert not wait_s(throttle, "2001:db8:0:1::1", None)
    assert not wait_s(throttle, "", None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.0.0.1:5678", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[::ffff:10.0.0.1]:5678", "10.0.0.1"),
        ("[2001:db8::1]:5678", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_an_address_is_the_same_however_it_is_written(throttle: Throttle, written: str, meant: str) -> None:
    """With a port as some proxies add it, or IPv4 inside of IPv6: another address is another client."""
    for _ in range(LIMIT):
        throttle.count(written, None)
    assert wait_s(throttle, meant, None)
    assert not wait_s(throttle, "::ffff:10.0.0.2", None)
    assert not wait_s(throttle, "10.0.0.2:5678", None)


def test_memory_is_bounded(throttle: Throttle) -> None:
    """Beyond COUNTED_MAX the oldest counts are forgotten."""
    for at in range(COUNTED_MAX + 100):
        throttle.count("10.0.0.1", f"u{at}")
    assert len(throttle._counts) <= COUNTED_MAX
    assert ("user", f"u{COUNTED_MAX + 99}") in throttle._counts
