"""Any worker replies for any user: from its own states, or by asking the owner of the user's partition once.

    client ── query ──> worker A ── POST /internal/answer, signed ──> worker B, owner of the partition
           <─ reply ──           <──────── reply, signed ────────────

* A has authorized the query. A's request to B holds no credentials, only user id, time zone, time and query.
* Request and reply are signed with a secret that all workers have (``signing``). The secret itself is in neither. So a
  stranger who got a dead worker's address does not learn it, and A does not believe the stranger.
* B replies from its own states, or refuses with 421 and names the owner that it knows. B asks no other worker: there is
  one hop at most between a client's worker and the one that replies.
* While a partition moves, A asks the next owner and then those that had the partition before, which keep their states
  until the next owner has restored its own (``handover``).

The addresses are in the metadata of the consumer group.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
import orjson
from aiohttp import web

from ecounters.errors import API_ERRORS, INTERNAL, INVALID_PARAMETER, RequestRefused
from ecounters.query.request import BODY_BYTES_MAX, Query, parse_forwarded
from streams.access.sessions import Account
from streams.basics.times import now_ms as wall_clock_ms
from streams.basics.times import zone_named
from streams.engine.view import HERE, PartitionView
from streams.web.large_replies import Moving
from streams.web.paths import PEER_PATH
from streams.web.peer_client import HOP_LIMIT_S, NOT_SIGNED, PeerClient
from streams.web.replies import Reply, ReplyCache
from streams.web.responses import body_as_sent, error_response, internal_error
from streams.web.signing import REPLY_HEADERS, REQUEST_SIGNATURE, is_signed_request, new_nonce, sign_reply

ASKED_MAX: Final = 6
"""So many workers are asked for a reply, one after the other, within HOP_LIMIT_S: the owner, and those that had the
partition before."""
OWNER_LIMIT_S: Final = HOP_LIMIT_S / 2
"""If there are standbys, all others are asked within this time: an owner that hangs must leave time for them."""
SIGNED_FOR_MS: Final = 300_000
"""How far the clocks of two workers may differ. A copy of a request could be sent again until the receiver's clock is
this far ahead of the request's time."""
PEER_BODY_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""Limit of a body between workers. It holds a query and an account, so it is longer than the client's body; also, JSON
may write a number longer than the client did."""
WAITING_RETRY_S: Final = 30
"""Retry-After of the refusal where a partition waits for an operator."""

NOT_OWNED: Final = 421
"""Misdirected Request: the worker that got the request does not own the partition, or has not restored it yet."""
SUCCESSOR_PAUSE_S: Final = 0.02
"""A worker that has said that it answers for a partition is asked again after this time, if it does not yet: it waits
for the last worker that it has told."""
ASK_AGAIN_S: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses before the standbys are asked for the first, second, ... time. One may be applying a flush, or have just given
its part to an owner that answers in a moment."""
OWN_LIMIT_S: Final = 1.0
"""How long this worker waits for itself to answer, once another one has said that it has the partition now."""
OWNER_HEADER: Final = REPLY_HEADERS + "Owner"
"""The header of NOT_OWNED with the URL of the owner, if another worker is."""


class Forwarded(msgspec.Struct, omit_defaults=True):
    """The body of a request between workers.

    ``userId``, ``zone``: the account. ``at``: the sender's wall clock in ms. ``asked``: ``Query.forwarded``. ``nonce``
    makes the signature unlike that of any other request; requests of release 0.2.0 have none. ``standby``: nobody else
    has replied, so the receiver may also reply from what it follows of the partition.
    """

    userId: str
    zone: str
    at: int
    asked: dict[str, Any]
    nonce: str = ""
    standby: bool = False


class PartitionDirectory(Protocol):
    """Finds the state of a partition on this worker, or the worker that owns the partition.

    ``engine.view.GroupDirectory`` implements it.
    """

    @property
    def url(self) -> str:
        """The URL at which the other workers reach this one."""

    @property
    def others(self) -> set[str]:
        """URLs of the other workers."""

    @property
    def has_left(self) -> bool:
        """Whether this worker gets no assignments any more."""

    def view_of(self, user_id: str) -> PartitionView | None:
        """The user's partition; None unless this worker owns it and answers for it."""

    def kept_view_of(self, user_id: str) -> PartitionView | None:
        """The state of the user's partition that this worker has kept since it gave the partition up."""

    async def standby_view_of(self, user_id: str) -> PartitionView | None:
        """The state that this worker follows of the user's partition, as a standby, or takes over. Use it before the
        next ``await``."""

    def standbys_for(self, user_id: str) -> list[str]:
        """Whom to ask if none of ``route_to`` replies: URLs of other workers, and HERE. Empty without standbys."""

    def why_waiting(self, user_id: str) -> str:
        """Why the user's partition, which this worker owns, waits for an operator; "" if it does not wait."""

    def route_to(self, user_id: str) -> list[str]:
        """Whom to ask one after the other: URLs of other workers, and HERE for the state that this worker keeps."""

    def successor_for(self, user_id: str) -> str | None:
        """URL of the other worker that owns the user's partition; None if no other worker is known to own it."""

    def has_successor(self, user_id: str) -> bool:
        """Whether another worker has said that it answers for the user's partition."""


class PeerRouter:
    """Gets the reply to a query from this worker or from the partition's owner, and replies to other workers.

    ``client`` counts the hops in the metrics, by result. ``close`` it at the end.
    """

    def __init__(self, replies: ReplyCache, partitions: PartitionDirectory, client: PeerClient) -> None:
        self._replies = replies
        self._partitions = partitions
        self._client = client

    async def reply(self, account: Account, query: Query, now_ms: int) -> Reply:
        """The reply to a query of an authorized account.

        Raises RequestRefused: on this worker as ``ReplyCache.reply``, on another worker whatever it refuses the query
        with, and 1032 with status 503 if nobody who has the partition, or had it before, is known and answers, or if
        the partition waits for an operator.
        """
        if (view := self._partitions.view_of(account.user_id)) is not None:
            with suppress(Moving):  # given up while a large reply waited for its turn
                return await self._replies.reply(view, account, query, now_ms)
        self._refuse_if_waiting(account.user_id)
        return await self._ask_others(account, query, now_ms)

    async def reply_to_peer(self, request: web.Request) -> web.Response:
        """POST /internal/answer: the signed reply to another worker's query, its refusal, or NOT_OWNED without a body.

        For a request that is not signed as it must be: NOT_SIGNED without a body, which is not signed either.
        Raises RequestRefused as ``body_as_sent``.
        """
        content = await body_as_sent(request.clone(client_max_size=PEER_BODY_BYTES_MAX))
        secret, signature = self._client.secret(), request.headers.get(REQUEST_SIGNATURE, "")
        if not is_signed_request(secret, content, signature):
            return web.Response(status=NOT_SIGNED)
        try:
            response = await self._response_to_peer(content)
        except RequestRefused as refused:
            response = error_response(refused)
        except Exception as error:
            response = internal_error(error)
        if response.status != NOT_SIGNED:
            await sign_reply(secret, signature, response)
        return response

    async def _response_to_peer(self, content: bytes) -> web.Response:
        """The response to a signed request with this body: a reply, NOT_SIGNED if it is too old, or NOT_OWNED.

        Raises RequestRefused: 1000 for a body that is none of a worker's, 1032 with status 503 if the partition waits
        for an operator, and as ``ReplyCache.reply``.
        """
        try:
            forwarded = msgspec.json.decode(content, type=Forwarded)
            zone = zone_named(forwarded.zone)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise RequestRefused(INVALID_PARAMETER, "the body is no request of a worker") from None
        now_ms = wall_clock_ms()
        if abs(now_ms - forwarded.at) > SIGNED_FOR_MS:
            return web.Response(status=NOT_SIGNED)
        account = Account(forwarded.userId, zone)
        partitions, user_id = self._partitions, account.user_id
        view = partitions.view_of(user_id)
        if view is None:
            self._refuse_if_waiting(user_id)
            view = self._kept_view(user_id)
        if view is None and forwarded.standby:
            view = await partitions.standby_view_of(user_id)
        if view is not None:
            with suppress(Moving):
                reply = await self._replies.reply(view, account, parse_forwarded(forwarded.asked), now_ms)
                return web.Response(body=reply.body, headers=reply.headers)
        owner = partitions.successor_for(user_id)
        return web.Response(status=NOT_OWNED, headers={OWNER_HEADER: owner} if owner else {})

    def _kept_view(self, user_id: str) -> PartitionView | None:
        """What this worker has kept of the user's partition; None if nothing, or if another worker answers by now."""
        return None if self._partitions.has_successor(user_id) else self._partitions.kept_view_of(user_id)

    def _refuse_if_waiting(self, user_id: str) -> None:
        """Raise 503 with the reason if the user's partition is here, and waits for an operator."""
        if why := self._partitions.why_waiting(user_id):
            raise RequestRefused(INTERNAL, why, http_status=503, retry_after_s=WAITING_RETRY_S)

    async def _ask_others(self, account: Account, query: Query, now_ms: int) -> Reply:
        """The reply of the first worker that has one, this one included; see ``GroupDirectory.route_to``.

        A worker that does not own the partition may name the owner: that one is asked next. It is asked again if it was
        asked before, as it may have restored the partition since. If none has a reply, those are asked whom a rebalance
        has made owners meanwhile; and all once more if one gave no response: it has ended amid the question, perhaps
        because the owner has restored the partition by now. ASKED_MAX are asked. A worker that has left the group knows
        no owners of now, and asks whoever is left.
        """
        partitions, user_id = self._partitions, account.user_id
        asked: Counter[str] = Counter()
        waiting = partitions.route_to(user_id)
        if partitions.has_left:
            waiting += sorted(partitions.others - set(waiting))
        forwarded = Forwarded(user_id, str(account.zone), now_ms, query.forwarded(), new_nonce())
        standbys, began_s = partitions.standbys_for(user_id), time.monotonic()
        times = 1  # so often each is asked at most, unless another one names it
        content, deadline = msgspec.json.encode(forwarded), began_s + (OWNER_LIMIT_S if standbys else HOP_LIMIT_S)
        while asked.total() < ASKED_MAX and (left_s := deadline - time.monotonic()) > 0:
            if not waiting:
                waiting = [url for url in partitions.route_to(user_id) if asked[url] < times]
                if not waiting:
                    break
                await asyncio.sleep(SUCCESSOR_PAUSE_S)
                continue
            url = waiting.pop(0)
            asked[url] += 1
            if url == HERE:
                view = self._kept_view(user_id)
                if view is not None:
                    with suppress(Moving):
                        return await self._replies.reply(view, account, query, now_ms)
                continue
            answer = await self._hop(url, content, left_s)
            if isinstance(answer, Reply):
                return answer
            if answer is None and not standbys:  # else standbys are asked in place of a second time
                times = 2
            if not answer and partitions.has_successor(user_id):
                answer = partitions.successor_for(user_id) or ""
                await asyncio.sleep(SUCCESSOR_PAUSE_S)
            if answer == partitions.url:
                asked[answer] += 1
            elif answer and asked[answer] < 2:
                waiting.insert(0, answer)
        is_named = asked[partitions.url] > 0 and not standbys  # a standby answers while this worker restores
        if (view := await self._own_view(user_id, is_named=is_named)) is not None:
            with suppress(Moving):
                return await self._replies.reply(view, account, query, now_ms)
        return await self._ask_standbys(account, query, now_ms, began_s + HOP_LIMIT_S)

    async def _own_view(self, user_id: str, *, is_named: bool) -> PartitionView | None:
        """The view of a partition that has become this worker's while it asked others; None without.

        ``is_named``: another worker says that this one has it. Then it will answer in a moment: it tells the others
        before it does, see ``Handover.announce``.
        """
        deadline = time.monotonic() + OWN_LIMIT_S
        view = self._partitions.view_of(user_id)
        while view is None and is_named and time.monotonic() < deadline:
            await asyncio.sleep(SUCCESSOR_PAUSE_S)
            view = self._partitions.view_of(user_id)
        return view

    async def _ask_standbys(self, account: Account, query: Query, now_ms: int, deadline: float) -> Reply:
        """The reply of the first of the standbys that has one; they are asked again after ASK_AGAIN_S. Raises Moving if
        none has by ``deadline``, at once if there are none."""
        partitions, user_id = self._partitions, account.user_id
        forwarded = Forwarded(user_id, str(account.zone), now_ms, query.forwarded(), new_nonce(), standby=True)
        content = msgspec.json.encode(forwarded)
        for pause_s in ASK_AGAIN_S:
            standbys = partitions.standbys_for(user_id)
            if not standbys or time.monotonic() + pause_s > deadline:
                break
            await asyncio.sleep(pause_s)
            for url in dict.fromkeys([HERE, *standbys]):
                if url == HERE:  # it may have become the owner meanwhile
                    view = partitions.view_of(user_id) or await partitions.standby_view_of(user_id)
                    if view is not None:
                        with suppress(Moving):
                            return await self._replies.reply(view, account, query, now_ms)
                elif (left_s := deadline - time.monotonic()) > 0:
                    answer = await self._hop(url, content, left_s)
                    if isinstance(answer, Reply):
                        return answer
        raise Moving

    async def close(self) -> None:
        """Close the connections to other workers."""
        await self._client.close()

    async def _hop(self, url: str, content: bytes, limit_s: float) -> Reply | str | None:
        """The reply of the worker at ``url``; else the URL of the owner that it names, or ""; None without a response.
        Counts the hop.

        Raises the RequestRefused that the worker sent.
        """
        response = await self._client.ask(url, PEER_PATH, content, limit_s)
        if response is None:
            return None
        if response.status == NOT_OWNED:
            self._client.failed(url, "not_mine")
            return response.headers.get(OWNER_HEADER, "")
        if response.status == 200 and REPLY_HEADERS + "Position" in response.headers:
            self._client.succeeded(url, "answered")
            return Reply(response.body, response.headers["ETag"], _headers_of(response.headers))
        refused = _refusal(response.status, response.body)
        if refused is None:
            self._client.failed(url, "not_ours", f"is none of this release: it answers HTTP {response.status}")
            return ""
        self._client.succeeded(url, "refused")
        raise refused


def _refusal(status: int, body: bytes) -> RequestRefused | None:
    """The RequestRefused that another worker's response stands for; None if the response is no refusal of ours."""
    try:
        error = orjson.loads(body)
        code, message = error["code"], str(error["message"])
        text, documented = API_ERRORS[code]
    except (ValueError, KeyError, TypeError):
        return None
    if status not in (documented, 503):  # such as the 404 of a release that has no such path
        return None
    return RequestRefused(code, message.removeprefix(text).removeprefix(": "), http_status=status)


def _headers_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of the reply in a response. ETag is looked up by name: aiohttp spells it "Etag"."""
    ours = {name: value for name, value in headers.items() if name.startswith(REPLY_HEADERS)}
    return {"ETag": headers["ETag"], **ours}
