"""What is read of another worker's response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.sessions import Account
from streams.web.large_replies import Moving
from streams.web.peer_client import PeerReply
from streams.web.peers import NOT_OWNED, OWNER_HEADER, PeerRouter, _refusal
from streams.web.replies import Reply
from streams.web.responses import error_body
from streams.web.signing import REPLY_HEADERS

OWN: Final = "http://own:1"
OTHER: Final = "http://other:1"


@pytest.mark.parametrize(
    "refused",
    [
        RequestRefused(1000, "filter: the dates have no time in common"),
        RequestRefused(1001),
        RequestRefused(1032, "these counters are being moved", http_status=503),
    ],
)
def test_a_refusal_arrives_as_it_was(refused: RequestRefused) -> None:
    """Code, detail and status of another worker's refusal."""
    passed_on = _refusal(refused.http_status, error_body(refused))
    assert passed_on is not None
    assert (passed_on.code, passed_on.detail, passed_on.http_status) == (
        refused.code, refused.detail, refused.http_status,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html>"),
        (400, b"[]"),
        (400, b'{"code":1000}'),
        (400, b'{"code":77,"message":"x"}'),
        (404, b'{"status":"error","message":"there is nothing at this path","code":1000}'),
    ],
)
def test_what_is_no_refusal_of_this_release_is_none(status: int, body: bytes) -> None:
    """Other bodies, unknown codes, and a 404 of a worker that has no such path."""
    assert _refusal(status, body) is None


class Directory:
    """Knows the other worker as the owner. This worker answers itself from the look number ``answers_at`` on."""

    url, has_left, others = OWN, False, frozenset({OTHER})

    def __init__(self, answers_at: int, standbys: Sequence[str] = ()) -> None:
        self._answers_at = answers_at
        self.looks = 0
        self.standbys = list(standbys)

    def view_of(self, _: str) -> object | None:
        """A view, once it is time."""
        self.looks += 1
        return object() if self.looks >= self._answers_at else None

    def route_to(self, _: str) -> list[str]:
        """The other worker."""
        return [OTHER]

    def standbys_for(self, _: str) -> list[str]:
        """The other worker, if it is one."""
        return self.standbys

    async def standby_view_of(self, _: str) -> None:
        """This worker is none."""

    def why_waiting(self, _: str) -> str:
        """It does not wait."""
        return ""

    def has_successor(self, _: str) -> bool:
        """No worker has said so to this one."""
        return False


class Client:
    """The other worker says that it has not got the partition, and names an owner if ``names``. It replies from the
    request number ``replies_at`` on."""

    def __init__(self, names: str = "", replies_at: int = 1_000) -> None:
        self._headers = {OWNER_HEADER: names} if names else {}
        self._replies_at = replies_at
        self.asked = 0

    async def ask(self, *_: object) -> PeerReply:
        """NOT_OWNED, or the reply."""
        self.asked += 1
        if self.asked >= self._replies_at:
            return PeerReply(200, {"ETag": "e", REPLY_HEADERS + "Position": "0:0"}, b"{}")
        return PeerReply(NOT_OWNED, self._headers, b"")

    def failed(self, *_: object) -> None:
        """Counted nowhere."""

    def succeeded(self, *_: object) -> None:
        """Nor is this."""


class Replies:
    """Makes one reply of any view."""

    REPLY: Final = Reply(b"{}", "e", {})

    async def reply(self, *_: object) -> Reply:
        """It."""
        return self.REPLY


def test_an_owner_that_was_restoring_is_asked_again_when_the_one_before_has_ended() -> None:
    """The owner had not got the partition yet; the one before told it all, and ended with the question unanswered."""
    owner, asked = "http://owner:1", list[str]()
    directory, client = Directory(1_000), Client()
    directory.route_to = lambda _: [owner, OTHER]  # type: ignore[method-assign]

    async def ask(url: str, *_: object) -> PeerReply | None:
        asked.append(url)
        if url == OTHER:
            return None
        if len(asked) == 1:
            return PeerReply(NOT_OWNED, {}, b"")
        return PeerReply(200, {"ETag": "e", REPLY_HEADERS + "Position": "0:0"}, b"{}")

    client.ask = ask  # type: ignore[assignment,method-assign]
    router = PeerRouter(Replies(), directory, client)  # type: ignore[arg-type]
    assert asyncio.run(router.reply(Account("u1", ZoneInfo("UTC")), Query(), 0)).body == b"{}"
    assert asked == [owner, OTHER, owner]


def test_an_owner_that_a_rebalance_makes_while_another_is_asked_is_asked_next() -> None:
    """The one that was asked first was ending, and cut the connection: there was a 503 in an orderly rebalance."""
    new, asked = "http://new:1", list[str]()
    directory, client = Directory(1_000), Client()

    async def ask(url: str, *_: object) -> PeerReply | None:
        asked.append(url)
        directory.route_to = lambda _: [new]  # type: ignore[method-assign]
        return PeerReply(200, {"ETag": "e", REPLY_HEADERS + "Position": "0:0"}, b"{}") if url == new else None

    client.ask = ask  # type: ignore[assignment,method-assign]
    router = PeerRouter(Replies(), directory, client)  # type: ignore[arg-type]
    assert asyncio.run(router.reply(Account("u1", ZoneInfo("UTC")), Query(), 0)).body == b"{}"
    assert asked == [OTHER, new]


@pytest.mark.parametrize(("answers_at", "names", "replies"), [(2, "", True), (4, OWN, True), (4, "", False)])
def test_a_partition_that_becomes_this_workers_while_others_are_asked_is_answered_here(
    answers_at: int, names: str, replies: bool
) -> None:
    """The worker that had it has told nobody else yet: there were 503 in an orderly rebalance."""
    directory: Any = Directory(answers_at)
    router = PeerRouter(Replies(), directory, Client(names))  # type: ignore[arg-type]
    reply = router.reply(Account("u1", ZoneInfo("UTC")), Query(), 0)
    if replies:
        assert asyncio.run(reply) is Replies.REPLY
    else:
        with pytest.raises(Moving):
            asyncio.run(reply)


def test_who_restores_a_partition_asks_its_standby_without_a_wait() -> None:
    """Each reply took a second longer while the partition was restored, and on a busy machine some were 503."""
    directory: Any = Directory(1_000, [OTHER])
    client: Any = Client(OWN, replies_at=2)
    router = PeerRouter(Replies(), directory, client)  # type: ignore[arg-type]
    assert asyncio.run(router.reply(Account("u1", ZoneInfo("UTC")), Query(), 0)).body == b"{}"
    assert directory.looks == 3


@pytest.mark.parametrize(("standbys", "asked"), [([OTHER], 4), ([], 1)])
def test_a_standby_that_cannot_answer_at_the_moment_is_asked_again(standbys: list[str], asked: int) -> None:
    """It applies a flush, or its owner has told it that it answers, and does a moment later: there were 503. Where no
    worker is a standby nobody waits."""
    directory: Any = Directory(1_000, standbys)
    client: Any = Client(replies_at=4)
    router = PeerRouter(Replies(), directory, client)  # type: ignore[arg-type]
    reply = router.reply(Account("u1", ZoneInfo("UTC")), Query(), 0)
    if standbys:
        assert asyncio.run(reply).body == b"{}"
    else:
        with pytest.raises(Moving):
            asyncio.run(reply)
    assert client.asked == asked
