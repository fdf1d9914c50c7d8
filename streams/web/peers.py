"""Any worker answers for any user: from its own states, or with one question to the worker that has the user's.

The question is ``POST /internal/answer`` at the address that the group's metadata has for the partition. It holds no
credentials: whoever was asked has seen to those. What it holds is signed with a secret of the workers, which therefore
is never sent, not even to a stranger who was given a dead worker's address. The one who is asked answers for what it
has itself and asks nobody, so there is one hop, never two.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

import aiohttp
import msgspec
import orjson
from aiohttp import web

from ecounters.errors import API_ERRORS, INTERNAL, RequestRefused
from ecounters.query.request import BODY_BYTES_MAX, Query, parse_forwarded
from streams.access.sessions import Account
from streams.basics.times import zone_named
from streams.engine.view import PartitionView
from streams.metrics.catalogue import Metrics
from streams.web.paths import PEER_PATH
from streams.web.replies import Reply, ReplyCache
from streams.web.responses import body_of

log = logging.getLogger(__name__)

SIGNATURE: Final = "X-Ecounters-Signature"
HOP_LIMIT_S: Final = 2.0
"""For one question to another worker, all in all."""
CONNECTIONS_MAX: Final = 100
"""To each other worker; further questions wait for one, within HOP_LIMIT_S."""
SIGNED_FOR_MS: Final = 300_000
"""How far the clocks of two workers may be apart; a question that was overheard is good for no longer."""
QUESTION_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""A question says what a request says, and for whom; numbers may be spelled longer than they came."""
OF_AN_ANSWER: Final = "X-Ecounters-"

NOT_OWNED: Final = 421
"""Misdirected Request: the worker that was asked has not got the partition."""
NOT_SIGNED: Final = 403


class PartitionDirectory(Protocol):
    """Where states are found, here and elsewhere."""

    def view_of(self, user_id: str) -> PartitionView | None:
        """The user's partition, or None while this worker has not got it (restored)."""

    def address_of(self, user_id: str) -> str | None:
        """URL of the other worker that has the user's partition; None: none is known."""


class PeerRouter:
    """Answers for all users. ``secret``: that of the workers now; "" as long as there is none.

    ``close`` it at the end.
    """

    def __init__(
        self, answers: ReplyCache, owners: PartitionDirectory, secret: Callable[[], str], metrics: Metrics
    ) -> None:
        self._answers = answers
        self._owners = owners
        self._secret = secret
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._silent: set[str] = set()

    async def answer(self, account: Account, request: Query, now_ms: int) -> Reply:
        """The answer to one request, or Refused: 1000 for its dates, 503 while nobody has the partition."""
        if (place := self._owners.view_of(account.user_id)) is not None:
            return self._answers.answer(place, account, request, now_ms)
        url = self._owners.address_of(account.user_id)
        secret = self._secret()
        if url is None or not secret:
            raise _nowhere()
        content = msgspec.json.encode(
            {"userId": account.user_id, "zone": str(account.zone), "at": now_ms, "asked": request.forwarded()}
        )
        return await self._ask(url, content, secret)

    async def answer_peer(self, request: web.Request) -> web.Response:
        """POST /internal/answer: another worker asks for a user whose partition is here."""
        content = await body_of(request.clone(client_max_size=QUESTION_BYTES_MAX))
        if not hmac.compare_digest(_signature(self._secret(), content), _given(request)) or not self._secret():
            return web.Response(status=NOT_SIGNED)
        question = msgspec.json.decode(content)
        now_ms = int(time.time() * 1000)
        if abs(now_ms - question["at"]) > SIGNED_FOR_MS:
            return web.Response(status=NOT_SIGNED)
        account = Account(question["userId"], zone_named(question["zone"]))
        if (place := self._owners.view_of(account.user_id)) is None:
            return web.Response(status=NOT_OWNED)
        answer = self._answers.answer(place, account, parse_forwarded(question["asked"]), now_ms)
        return web.Response(body=answer.body, headers=answer.headers)

    async def close(self) -> None:
        """Close the connections to other workers."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, url: str, content: bytes, secret: str) -> Reply:
        """Another worker's answer, or its refusal; a 503 if it gives neither in time."""
        headers = {SIGNATURE: _signature(secret, content), "Content-Type": "application/json"}
        try:
            async with self._pool().post(
                url + PEER_PATH, data=content, headers=headers, allow_redirects=False
            ) as reply:
                body = await reply.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._unanswered(url, "unreachable", f"gives no answer: {type(error).__name__}") from error
        if reply.status == NOT_OWNED:
            raise self._unanswered(url, "not_mine")
        if reply.status == NOT_SIGNED:
            raise self._unanswered(url, "not_trusted", "does not trust this one: ECOUNTERS_SECRET or the clocks differ")
        if reply.status == 200 and OF_AN_ANSWER + "Position" in reply.headers:
            self._answered(url, "answered")
            return Reply(body, reply.headers["ETag"], _told(reply))
        refused = _refusal(reply.status, body)
        if refused is None:
            raise self._unanswered(url, "not_ours", f"is none of this release: it answers HTTP {reply.status}")
        self._answered(url, "refused")
        raise refused

    def _answered(self, url: str, result: str) -> None:
        self._metrics.hops.labels(result).inc()
        self._silent.discard(url)

    def _unanswered(self, url: str, result: str, why: str = "") -> RequestRefused:
        """The refusal that goes with no answer; the log is told once, until there is one again."""
        self._metrics.hops.labels(result).inc()
        if why and url not in self._silent:
            self._silent.add(url)
            log.warning("the worker at %s %s", url, why)
        return _nowhere()

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=HOP_LIMIT_S),
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
            )
        return self._session


def _nowhere() -> RequestRefused:
    return RequestRefused(INTERNAL, "these counters are being moved or restored; try again shortly", http_status=503)


def _refusal(status: int, body: bytes) -> RequestRefused | None:
    """The refusal that another worker gave, as it was; None: it is none of ours."""
    try:
        told = orjson.loads(body)
        code, message = told["code"], str(told["message"])
        text, documented = API_ERRORS[code]
    except (ValueError, KeyError, TypeError):
        return None
    if status not in (documented, 503):  # such as a 404, of one that knows nothing of this
        return None
    return RequestRefused(code, message.removeprefix(text).removeprefix(": "), http_status=status)


def _told(reply: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers that belong to an answer; aiohttp has a spelling of its own for the first."""
    ours = {name: value for name, value in reply.headers.items() if name.startswith(OF_AN_ANSWER)}
    return {"ETag": reply.headers["ETag"], **ours}


def _signature(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def _given(request: web.Request) -> str:
    """The signature that came with a question; compare_digest takes nothing but ASCII."""
    text = request.headers.get(SIGNATURE, "")
    return text if text.isascii() else ""
