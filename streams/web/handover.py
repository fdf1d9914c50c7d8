"""Hands the answering for a partition over from the worker that had it to its next owner.

    next owner, restored ── POST /internal/taken, signed: "I have partition 3 up to offset 500" ──> last owner
           answers       <──────────────────────── {"position":0}, signed ───────────────────────   answers no more

Only after the last owner's reply does the next owner answer: so no client sees fewer calls than before. If the last
owner has shown more than it could flush, it replies with its own position and goes on; the next owner reads on and says
it again. Whoever cannot be reached answers nobody, and is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec
from aiohttp import web

from ecounters.errors import INVALID_PARAMETER, RequestRefused
from streams.basics.times import now_ms
from streams.engine.table import StateTable
from streams.engine.view import GroupDirectory
from streams.web.paths import TAKEN_PATH
from streams.web.peer_client import NOT_SIGNED, PeerClient
from streams.web.responses import body_as_sent, error_response
from streams.web.signing import REQUEST_SIGNATURE, is_signed_request, new_nonce, sign_reply

ANNOUNCE_LIMIT_S: Final = 0.5
"""The next owner waits for the last one's reply for so long at most."""
NO_PARTITION: Final = -1
"""In a message: no partition was taken; the sender wants to know whether the receiver stays."""
TAKEN_FOR_MS: Final = 30_000
"""A message that is older or newer than this, by the clock of the receiver, is ignored."""


class Taken(msgspec.Struct):
    """The body of the message: ``url`` has ``partition`` up to ``position``, by the assignment ``generation``.

    ``at``: the sender's wall clock in ms. ``nonce`` makes the signature unlike all others.
    """

    partition: int
    position: int
    generation: int
    url: str
    at: int
    nonce: str


class TakenReply(msgspec.Struct):
    """The body of the reply. ``position``: 0, or up to which offset the receiver's state is, which has shown more.
    ``stays``: whether the receiver is not about to end."""

    position: int
    stays: bool = True


class Handover:
    """Tells the workers that had a partition before, and hears what other workers tell this one.

    It is the ``Handover`` of ``streams.engine.context``.
    """

    def __init__(
        self, table: StateTable, directory: GroupDirectory, client: PeerClient, stopping: Callable[[], bool]
    ) -> None:
        """``stopping``: whether this worker is about to end; others are told so."""
        self._table = table
        self._directory = directory
        self._client = client
        self._stopping = stopping

    async def announce(self, partition: int, position: int) -> int:
        """Say that this worker has the partition's state up to ``position``, to all that may have an earlier one.

        Returns 0, or the largest position of those that have shown more. A state that this worker itself has kept of
        the partition counts too. Takes ANNOUNCE_LIMIT_S at most.
        """
        kept = self._table.kept.get(partition)
        if kept is not None and kept.state.position > position:
            return kept.state.position
        directory = self._directory
        replies = await self._tell(directory.holders_of(partition), partition, position)
        shown = max((reply.position for reply in replies), default=0)
        if not shown:
            self._table.kept.drop_later(partition)
        return shown

    async def is_needed(self) -> bool:
        """Whether nobody else answers yet for some partition that this worker has given up, and somebody may soon.

        Nobody will if no other worker can be reached, or all are about to end as well.
        """
        if not self._table.held():
            return False
        return any(reply.stays for reply in await self._tell(self._directory.others, NO_PARTITION, 0))

    async def _tell(self, urls: Iterable[str], partition: int, position: int) -> list[TakenReply]:
        """The replies of those workers that reply, to the message that this one has a partition."""
        directory = self._directory
        message = Taken(partition, position, directory.generation, directory.url, now_ms(), new_nonce())
        content = msgspec.json.encode(message)
        responses = await asyncio.gather(
            *(self._client.ask(url, TAKEN_PATH, content, ANNOUNCE_LIMIT_S) for url in urls)
        )
        found = []
        for response in responses:
            if response is not None and response.status == 200:
                with suppress(msgspec.MsgspecError):
                    found.append(msgspec.json.decode(response.body, type=TakenReply))
        return found

    async def hear(self, request: web.Request) -> web.Response:
        """POST /internal/taken: another worker has a partition that was this one's. Replies with a signed TakenReply.

        For a request that is not signed as it must be, or too old: NOT_SIGNED without a body. Raises RequestRefused as
        ``body_as_sent``.
        """
        content = await body_as_sent(request)
        secret, signature = self._client.secret(), request.headers.get(REQUEST_SIGNATURE, "")
        if not is_signed_request(secret, content, signature):
            return web.Response(status=NOT_SIGNED)
        try:
            taken = msgspec.json.decode(content, type=Taken)
        except msgspec.MsgspecError:
            response = error_response(RequestRefused(INVALID_PARAMETER, "the body is no message of a worker"))
        else:
            if abs(now_ms() - taken.at) > TAKEN_FOR_MS:
                return web.Response(status=NOT_SIGNED)
            shown = 0
            if taken.partition != NO_PARTITION:
                shown = self._table.hand_over(taken.partition, taken.position, taken.generation, taken.url)
            reply = TakenReply(shown, stays=not self._stopping())
            response = web.Response(body=msgspec.json.encode(reply), headers={"Content-Type": "application/json"})
        await sign_reply(secret, signature, response)
        return response
