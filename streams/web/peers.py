"""Any worker replies for any user: from its own states, or by asking the owner of the user's partition once.

    client ── query ──> worker A ── POST /internal/answer, signed ──> worker B, owner of the partition
           <─ reply ──           <──────────── reply ────────────────

* A has authorized the query; what it sends B holds no credentials, only user id, time zone, time and query.
* It is signed with a secret that all workers have. The secret itself is never sent, so a stranger who was given a dead
  worker's address does not learn it.
* B replies from its own states or with 421; it asks nobody. So there is one hop at most.

The address of B is in the metadata of the consumer group.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from typing import Final, Protocol

import aiohttp
import msgspec
import orjson
from aiohttp import web

from ecounters.errors import API_ERRORS, INTERNAL, RequestRefused
from ecounters.query.request import BODY_BYTES_MAX, Query, parse_forwarded
from streams.access.sessions import Account
from streams.basics.times import now_ms as wall_clock_ms
from streams.basics.times import zone_named
from streams.engine.view import PartitionView
from streams.metrics.catalogue import Metrics
from streams.web.paths import PEER_PATH
from streams.web.replies import Reply, ReplyCache
from streams.web.responses import body_of

log = logging.getLogger(__name__)

SIGNATURE: Final = "X-Ecounters-Signature"
"""The header with the HMAC-SHA-256 of the body, in hex. The key is the workers' secret."""
HOP_LIMIT_S: Final = 2.0
"""For one hop, from waiting for a connection to the end of the reply."""
CONNECTIONS_MAX: Final = 100
"""To each other worker. Further hops wait for a free one, within HOP_LIMIT_S."""
SIGNED_FOR_MS: Final = 300_000
"""How far the clocks of two workers may differ; also how long a copied message could be sent again."""
PEER_BODY_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""The body between workers holds a query and an account, and JSON may write numbers longer than the client did."""
REPLY_HEADERS: Final = "X-Ecounters-"
"""What the names of a reply's headers begin with, except for ETag."""

NOT_OWNED: Final = 421
"""Misdirected Request: the asked worker does not own the partition, or has not restored it yet."""
NOT_SIGNED: Final = 403
"""The signature is missing, wrong or too old."""


class PartitionDirectory(Protocol):
    """Where the states of partitions are, on this worker and on others. ``engine.view.GroupDirectory`` is one."""

    def view_of(self, user_id: str) -> PartitionView | None:
        """The user's partition; None unless this worker owns and has restored it."""

    def address_of(self, user_id: str) -> str | None:
        """URL of the other worker that owns the user's partition; None if no other one is known."""


class PeerRouter:
    """Gets the reply to a query from this worker or from the partition's owner, and replies to other workers.

    ``secret``: returns the workers' secret; "" until the consumer group has one. Counts the hops in the metrics, by
    result. ``close`` it at the end.
    """

    def __init__(
        self, replies: ReplyCache, partitions: PartitionDirectory, secret: Callable[[], str], metrics: Metrics
    ) -> None:
        self._replies = replies
        self._partitions = partitions
        self._secret = secret
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._failing: set[str] = set()  # URLs of workers that a warning was logged of since their last reply

    async def reply(self, account: Account, query: Query, now_ms: int) -> Reply:
        """The reply to a query of an authorized account.

        Raises RequestRefused: 1000 for the query's dates, 1032 with status 503 while no owner can be asked.
        """
        if (view := self._partitions.view_of(account.user_id)) is not None:
            return self._replies.reply(view, account, query, now_ms)
        url = self._partitions.address_of(account.user_id)
        secret = self._secret()
        if url is None or not secret:
            raise _moving()
        content = msgspec.json.encode(
            {"userId": account.user_id, "zone": str(account.zone), "at": now_ms, "asked": query.forwarded()}
        )
        return await self._hop(url, content, secret)

    async def reply_to_peer(self, request: web.Request) -> web.Response:
        """POST /internal/answer: the reply to another worker's query; without a body NOT_SIGNED or NOT_OWNED.

        Raises RequestRefused as ``ReplyCache.reply``, for the other worker to pass on.
        """
        content = await body_of(request.clone(client_max_size=PEER_BODY_BYTES_MAX))
        if not hmac.compare_digest(_signature(self._secret(), content), _signature_of(request)) or not self._secret():
            return web.Response(status=NOT_SIGNED)
        forwarded = msgspec.json.decode(content)
        now_ms = wall_clock_ms()
        if abs(now_ms - forwarded["at"]) > SIGNED_FOR_MS:
            return web.Response(status=NOT_SIGNED)
        account = Account(forwarded["userId"], zone_named(forwarded["zone"]))
        if (view := self._partitions.view_of(account.user_id)) is None:
            return web.Response(status=NOT_OWNED)
        reply = self._replies.reply(view, account, parse_forwarded(forwarded["asked"]), now_ms)
        return web.Response(body=reply.body, headers=reply.headers)

    async def close(self) -> None:
        """Close the connections to other workers."""
        if self._session is not None:
            await self._session.close()

    async def _hop(self, url: str, content: bytes, secret: str) -> Reply:
        """The reply of the worker at ``url``. Raises its RequestRefused, or a 503 if it has no reply in time."""
        headers = {SIGNATURE: _signature(secret, content), "Content-Type": "application/json"}
        try:
            async with self._client().post(
                url + PEER_PATH, data=content, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(url, "unreachable", f"gives no answer: {type(error).__name__}") from error
        if response.status == NOT_OWNED:
            raise self._failed(url, "not_mine")
        if response.status == NOT_SIGNED:
            raise self._failed(url, "not_trusted", "does not trust this one: ECOUNTERS_SECRET or the clocks differ")
        if response.status == 200 and REPLY_HEADERS + "Position" in response.headers:
            self._succeeded(url, "answered")
            return Reply(body, response.headers["ETag"], _headers_of(response))
        refused = _refusal(response.status, body)
        if refused is None:
            raise self._failed(url, "not_ours", f"is none of this release: it answers HTTP {response.status}")
        self._succeeded(url, "refused")
        raise refused

    def _succeeded(self, url: str, result: str) -> None:
        """Count a hop that gave a reply or a refusal. The next failure of this worker is logged again."""
        self._metrics.hops.labels(result).inc()
        self._failing.discard(url)

    def _failed(self, url: str, result: str, why: str = "") -> RequestRefused:
        """Count a hop that gave neither, and return the refusal to raise.

        ``why`` is logged as a warning, unless it was since the worker's last success.
        """
        self._metrics.hops.labels(result).inc()
        if why and url not in self._failing:
            self._failing.add(url)
            log.warning("the worker at %s %s", url, why)
        return _moving()

    def _client(self) -> aiohttp.ClientSession:
        """The client for all hops, made by the first one."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=HOP_LIMIT_S),
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
            )
        return self._session


def _moving() -> RequestRefused:
    """The refusal while no worker has the partition."""
    return RequestRefused(INTERNAL, "these counters are being moved or restored; try again shortly", http_status=503)


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


def _signature(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def _signature_of(request: web.Request) -> str:
    """The signature in a request's header; "" if it is no ASCII, which compare_digest would raise for."""
    text = request.headers.get(SIGNATURE, "")
    return text if text.isascii() else ""
