"""From which networks users have logged in, kept in a real Redis."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Awaitable, Callable

import pytest

from streams.access import known_networks as module
from streams.access.accounts import Accounts
from streams.access.known_networks import KNOWN_S, NOTE_AGAIN_S, KnownNetworks
from streams.access.look_ups import LookUps
from streams.access.sessions import Account
from streams.access.store import connect, networks_key, read_hash, user_key
from streams.basics.times import zone_named
from tests.support.sessions import Clock

HOME, OTHER = "192.0.2.7", "198.51.100.9"


class Case:
    """A new user, and its known networks as each of two workers sees them."""

    def __init__(self, url: str) -> None:
        self.redis = connect(url)
        self.accounts = Accounts(self.redis, 100)
        self.clock = Clock()
        self.first, self.second = self.worker(), self.worker()
        self.user_id = f"user-{secrets.token_hex(4)}"

    def worker(self, secret: str = "") -> KnownNetworks:
        """Known networks as one worker sees them."""
        return KnownNetworks(LookUps(self.redis), secret, self.clock)

    async def account(self) -> Account:
        """The user's account. The user is added if it is not there."""
        fields = await read_hash(self.redis, user_key(self.user_id))
        if not fields:
            await self.accounts.add_user(self.user_id, "UTC")
            fields = await read_hash(self.redis, user_key(self.user_id))
        return Account(self.user_id, zone_named("UTC"), fields["born"])

    async def has(self, known: KnownNetworks, network: str = HOME) -> bool:
        """Whether the user has been at a network before."""
        return await known.has(self.user_id, (await self.account()).born, network)

    async def kept(self) -> int:
        """How many networks of the user Redis has."""
        return int(await self.redis.zcard(networks_key(self.user_id)))


def run(url: str, test: Callable[[Case], Awaitable[None]]) -> None:
    """Run a test on a case of its own, and close the connections afterwards."""

    async def work() -> None:
        case = Case(url)
        try:
            await test(case)
        finally:
            await case.accounts.close()

    asyncio.run(work())


def test_a_network_is_known_to_all_workers(redis_url: str) -> None:
    """What one worker notes, another one knows; of another network and another user nothing is known."""

    async def test(case: Case) -> None:
        assert not await case.has(case.first)
        await case.first.note(await case.account(), HOME)
        assert await case.has(case.first)
        assert await case.has(case.second)
        assert not await case.has(case.second, OTHER)
        assert not await case.second.has("somebody else", (await case.account()).born, HOME)

    run(redis_url, test)


def test_a_network_is_forgotten_after_a_time_without_log_ins(redis_url: str) -> None:
    """KNOWN_S after the last log-in; each one that is noted prolongs the time, and Redis keeps nothing for longer."""

    async def test(case: Case) -> None:
        await case.first.note(await case.account(), HOME)
        assert 0 < await case.redis.ttl(networks_key(case.user_id)) <= KNOWN_S
        case.clock.now += KNOWN_S - 10
        assert await case.has(case.second)
        await case.first.note(await case.account(), HOME)
        case.clock.now += KNOWN_S - 10
        assert await case.has(case.second)
        case.clock.now += 20
        assert not await case.has(case.second)
        await case.first.note(await case.account(), OTHER)
        assert await case.kept() == 1

    run(redis_url, test)


def test_a_worker_writes_a_network_once_an_hour(redis_url: str) -> None:
    """Within NOTE_AGAIN_S nothing is written; after it the last log-in is noted again."""

    async def test(case: Case) -> None:
        account = await case.account()
        await case.first.note(account, HOME)
        await case.redis.delete(networks_key(case.user_id))
        case.clock.now += NOTE_AGAIN_S - 1
        await case.first.note(account, HOME)
        assert await case.kept() == 0
        case.clock.now += 2
        await case.first.note(account, HOME)
        assert await case.kept() == 1

    run(redis_url, test)


def test_the_networks_of_a_user_are_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond KNOWN_MAX those with the oldest log-in are forgotten, in Redis; a worker remembers NOTED_MAX."""
    monkeypatch.setattr(module, "KNOWN_MAX", 3)
    monkeypatch.setattr(module, "NOTED_MAX", 4)

    async def test(case: Case) -> None:
        account = await case.account()
        for at in range(10):
            case.clock.now += 1
            await case.first.note(account, f"192.0.2.{at}")
        assert [await case.has(case.second, f"192.0.2.{at}") for at in range(10)] == [False] * 7 + [True] * 3
        assert len(case.first._noted) == 4

    run(redis_url, test)


def test_a_removed_users_networks_are_gone(redis_url: str) -> None:
    """Also if a request of that user is still under way, and for a new user of that name."""

    async def test(case: Case) -> None:
        account = await case.account()
        await case.first.note(account, HOME)
        await case.accounts.remove_user(case.user_id)
        assert await case.kept() == 0
        await case.second.note(account, HOME)
        assert await case.kept() == 0
        assert not await case.has(case.second)  # adds the user again
        await case.second.note(account, HOME)
        assert await case.kept() == 0
        await case.second.note(await case.account(), HOME)
        assert await case.has(case.first)

    run(redis_url, test)


def test_no_address_is_stored(redis_url: str) -> None:
    """Redis has a hash, for whose key ECOUNTERS_SECRET is needed: with another secret nothing is known."""

    async def test(case: Case) -> None:
        one, other = case.worker("a secret of sixteen"), case.worker("another secret of it")
        await one.note(await case.account(), HOME)
        [member] = await case.redis.zrange(networks_key(case.user_id), 0, -1)
        assert len(member) == 32
        assert HOME.encode() not in member
        assert ipaddress.ip_address(HOME).packed not in member
        assert await case.has(case.worker("a secret of sixteen"))
        assert not await case.has(other)
        assert not await case.has(case.first)

    run(redis_url, test)


def test_without_redis_nothing_is_noted_and_nothing_fails(redis_url: str) -> None:
    """A log-in that could not be noted is noted the next time."""

    async def test(case: Case) -> None:
        account = await case.account()
        away = connect("redis://127.0.0.1:1/0")
        clock = Clock()
        known = KnownNetworks(LookUps(away, clock), "", case.clock)
        await known.note(account, HOME)
        assert not await case.has(case.first)
        known._look_ups = LookUps(case.redis, clock)
        await known.note(account, HOME)
        assert await case.has(case.first)
        await away.aclose()

    run(redis_url, test)
