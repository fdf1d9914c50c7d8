"""What is wrong with an argument is said before Redis is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from redis.asyncio import Redis

from ecounters.errors import Stop
from streams.access.accounts import Accounts

WRONG_IDS = [
    ("", "user id must have 1 to 128"),
    ("u" * 129, "user id must have 1 to 128"),
    *[(f"a{wrong}b", "printable") for wrong in "\n\t\0\x1b\x7f\x85\xa0\u200b\u202e\u2028\ufeff\ud800"],
    (".", "must not be . or .."),
    ("..", "must not be . or .."),
    (" a", "must not begin or end with white space"),
    ("a ", "must not begin or end with white space"),
    (" ", "must not begin or end with white space"),
]
"""User ids that no new user gets, and words of the message."""


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda accounts: accounts.add_user("u", "Mars"), "zone 'Mars' is wrong"),
        (lambda accounts: accounts.add_user("u", "UTC", deny=("all",)), "'all' is nothing that can be denied"),
        *[(lambda accounts, user=user: accounts.add_user(user, "UTC"), words) for user, words in WRONG_IDS],
        (lambda accounts: accounts.add_user("u", "UTC", token="x"), "a token must have 16 to 512"),
        (lambda accounts: accounts.new_token("u", token="t" * 513), "a token must have 16 to 512"),
        (lambda accounts: accounts.open_session("u", 0), "a second at least"),
        (lambda accounts: accounts.open_session("u", 60, "a\nb"), "agent's name must have"),
        (lambda accounts: accounts.open_session("u", 60, logged_in=False), "--agent"),
    ],
)
def test_a_wrong_argument_is_refused(attempt: Callable[[Accounts], Awaitable[object]], words: str) -> None:
    """Stop with the reason; there is no Redis in this test, so nothing was asked of it."""

    async def work() -> None:
        await attempt(Accounts(cast(Redis, object()), 100))

    with pytest.raises(Stop, match=words):
        asyncio.run(work())
