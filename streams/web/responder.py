"""Authorizes a parsed query and makes its HTTP response: the API's routes and the dashboard's share this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from ecounters.query.request import Query
from streams.access.sessions import Account
from streams.access.throttle import ThrottledLogin
from streams.basics.times import now_ms
from streams.web.compression import ReplyEncoder
from streams.web.peers import PeerRouter
from streams.web.responses import client_address

Authorize = Callable[[web.Request, Query], Awaitable[Account]]
"""``Responder.authorize``, for callers that need no other method of Responder."""
Respond = Callable[[web.Request, Query], Awaitable[web.Response]]
"""``Responder.respond``, for callers that need no other method of Responder."""


class Responder:
    """Authorizes queries and responds to them.

    ``proxies``: how many trusted reverse proxies each request passes before it reaches this worker.
    """

    def __init__(self, login: ThrottledLogin, router: PeerRouter, proxies: int) -> None:
        self._login = login
        self._router = router
        self._proxies = proxies
        self._encoder = ReplyEncoder()

    async def authorize(self, request: web.Request, query: Query) -> Account:
        """The account that the credentials in ``query`` open, or RequestRefused as ``ThrottledLogin.authorize``.

        Wrong credentials are counted for the address that ``request`` comes from.
        """
        return await self._login.authorize(query, client_address(request, self._proxies))

    async def respond(self, request: web.Request, query: Query) -> web.Response:
        """Authorize ``query`` and respond with the counters that it queries, from this worker or another one.

        Raises RequestRefused as ``authorize`` and ``PeerRouter.reply`` do.
        """
        account = await self.authorize(request, query)
        reply = await self._router.reply(account, query, now_ms())
        return await self._encoder.response(request, reply)
