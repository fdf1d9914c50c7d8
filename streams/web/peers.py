"""Any worker replies for any user: from its own states, or by asking the owner of the user's partition once.

    client ── query ──> worker A ── POST /internal/answer, signed ──> worker B, owner of the partition
           <─ reply ──           <──────── reply, signed ────────────

* A has authorized the query. A's request to B holds no credentials, only user id, time zone, time and query.
* Request and reply are signed with a secret that all workers have (``signing``). The secret itself is in neither. So a
  stranger who got a dead worker's address does not learn it, and A does not believe the stranger.
* B replies from its own states, or refuses with 421. B asks no other worker, so there is one hop at most.

The address of B is in the metadata of the consumer group.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp
import msgspec
import orjson
from aiohttp import web

from ecounters.errors import API_ERRORS, INTERNAL, INVALID_PARAMETER, RequestRefused
from ecounters.query.request import BODY_BYTES_MAX, Query, parse_forwarded
from streams.access.sessions import Account
from streams.basics.logs import REQUEST_ID
from streams.basics.times import now_ms as wall_clock_ms
from streams.basics.times import zone_named
from streams.engine.view import PartitionView
from streams.metrics.catalogue import Metrics
from streams.web.large_replies import moving
from streams.web.paths import PEER_PATH
from streams.web.replies import Reply, ReplyCache
from streams.web.request_ids import ID_HEADER
from streams.web.responses import body_as_sent, error_response, internal_error
from streams.web.signing import (
    REPLY_HEADERS,
    REQUEST_SIGNATURE,
    is_signed_request,
    new_nonce,
    request_signature,
    sign_reply,
    signed_body,
)

log = logging.getLogger(__name__)

HOP_LIMIT_S: Final = 2.0
"""A hop fails after this time. It is counted from the wait for a connection to the end of the reply."""
CONNECTIONS_MAX: Final = 100
"""A worker opens at most so many connections to each other worker. Further hops wait for one, within HOP_LIMIT_S."""
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
NOT_SIGNED: Final = 403
"""The signature is missing or wrong, the clocks of the two workers differ by more than SIGNED_FOR_MS, or this worker
has no secret yet."""


class Forwarded(msgspec.Struct):
    """The body of a request between workers.

    ``userId``, ``zone``: the account. ``at``: the sender's wall clock in ms. ``asked``: ``Query.forwarded``. ``nonce``
    makes the signature unlike that of any other request; requests of release 0.2.0 have none.
    """

    userId: str
    zone: str
    at: int
    asked: dict[str, Any]
    nonce: str = ""


class PartitionDirectory(Protocol):
    """Finds the state of a partition on this worker, or the worker that owns the partition.

    ``engine.view.GroupDirectory`` implements it.
    """

    def view_of(self, user_id: str) -> PartitionView | None:
        """The user's partition; None unless this worker owns and has restored it."""

    def why_waiting(self, user_id: str) -> str:
        """Why the user's partition, which this worker owns, waits for an operator; "" if it does not wait."""

    def address_of(self, user_id: str) -> str | None:
        """URL of the other worker that owns the user's partition; None if no other worker is known to own it."""


class PeerRouter:
    """Gets the reply to a query from this worker or from the partition's owner, and replies to other workers.

    ``secret``: returns the workers' secret; "" until this worker has it. Counts the hops that it makes in the metrics,
    by result. ``close`` it at the end.
    """

    def __init__(
        self, replies: ReplyCache, partitions: PartitionDirectory, secret: Callable[[], str], metrics: Metrics
    ) -> None:
        self._replies = replies
        self._partitions = partitions
        self._secret = secret
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._failing: set[str] = set()  # URLs of the workers of which a warning was logged since their last reply

    async def reply(self, account: Account, query: Query, now_ms: int) -> Reply:
        """The reply to a query of an authorized account.

        Raises RequestRefused: on this worker as ``ReplyCache.reply``, on another worker whatever it refuses the query
        with, and 1032 with status 503 if no owner is known, the hop to it fails, or the partition waits for an
        operator.
        """
        if (view := self._partitions.view_of(account.user_id)) is not None:
            return await self._replies.reply(view, account, query, now_ms)
        self._refuse_if_waiting(account.user_id)
        url = self._partitions.address_of(account.user_id)
        secret = self._secret()
        if url is None or not secret:
            raise moving()
        forwarded = Forwarded(account.user_id, str(account.zone), now_ms, query.forwarded(), new_nonce())
        return await self._hop(url, msgspec.json.encode(forwarded), secret)

    async def reply_to_peer(self, request: web.Request) -> web.Response:
        """POST /internal/answer: the signed reply to another worker's query, its refusal, or NOT_OWNED without a body.

        For a request that is not signed as it must be: NOT_SIGNED without a body, which is not signed either.
        Raises RequestRefused as ``body_as_sent``.
        """
        content = await body_as_sent(request.clone(client_max_size=PEER_BODY_BYTES_MAX))
        secret, signature = self._secret(), request.headers.get(REQUEST_SIGNATURE, "")
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
        if (view := self._partitions.view_of(account.user_id)) is None:
            self._refuse_if_waiting(account.user_id)
            return web.Response(status=NOT_OWNED)
        reply = await self._replies.reply(view, account, parse_forwarded(forwarded.asked), now_ms)
        return web.Response(body=reply.body, headers=reply.headers)

    def _refuse_if_waiting(self, user_id: str) -> None:
        """Raise 503 with the reason if the user's partition is here, and waits for an operator."""
        if why := self._partitions.why_waiting(user_id):
            raise RequestRefused(INTERNAL, why, http_status=503, retry_after_s=WAITING_RETRY_S)

    async def close(self) -> None:
        """Close the connections to other workers."""
        if self._session is not None:
            await self._session.close()

    async def _hop(self, url: str, content: bytes, secret: str) -> Reply:
        """The reply of the worker at ``url``. Counts the hop.

        Raises the RequestRefused that the worker sent. Raises 503 if the worker cannot be reached or is too slow, does
        not have the partition, does not accept the signature, or sends no signed reply of this release.
        """
        signature = request_signature(secret, content)
        headers = {REQUEST_SIGNATURE: signature, "Content-Type": "application/json", ID_HEADER: REQUEST_ID.get()}
        try:
            async with self._client().post(
                url + PEER_PATH, data=content, headers=headers, allow_redirects=False
            ) as response:
                body = await signed_body(secret, signature, response)
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(url, "unreachable", f"gives no answer: {type(error).__name__}") from error
        if body is None and response.status == NOT_SIGNED:
            raise self._failed(url, "not_trusted", "does not trust this one: ECOUNTERS_SECRET or the clocks differ")
        if body is None:
            why = (
                f"answers HTTP {response.status} without the right signature: it is of another release, or none of ours"
            )
            raise self._failed(url, "not_ours", why)
        if response.status == NOT_OWNED:
            raise self._failed(url, "not_mine")
        if response.status == 200 and REPLY_HEADERS + "Position" in response.headers:
            self._succeeded(url, "answered")
            return Reply(body, response.headers["ETag"], _headers_of(response))
        refused = _refusal(response.status, body)
        if refused is None:
            raise self._failed(url, "not_ours", f"is none of this release: it answers HTTP {response.status}")
        self._succeeded(url, "refused")
        raise refused

    def _succeeded(self, url: str, result: str) -> None:
        """Count a hop that gave a reply or a refusal. The next failure of the worker at ``url`` is logged again."""
        self._metrics.hops.labels(result).inc()
        self._failing.discard(url)

    def _failed(self, url: str, result: str, why: str = "") -> RequestRefused:
        """Count a hop that gave neither a reply nor a refusal, and return the 503 to raise.

        ``why`` is logged as a warning, unless one was logged since the worker's last success. "" is never logged.
        """
        self._metrics.hops.labels(result).inc()
        if why and url not in self._failing:
            self._failing.add(url)
            log.warning("the worker at %s %s", url, why)
        return moving()

    def _client(self) -> aiohttp.ClientSession:
        """The HTTP client of all hops. The first hop makes it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=HOP_LIMIT_S),
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,  # a stranger's small reply could become gigabytes
            )
        return self._session


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


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers of the reply in a response. ETag is looked up by name: aiohttp spells it "Etag"."""
    ours = {name: value for name, value in response.headers.items() if name.startswith(REPLY_HEADERS)}
    return {"ETag": response.headers["ETag"], **ours}
