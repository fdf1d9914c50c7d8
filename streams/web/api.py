"""The routes of a worker: the counters, its health, its metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ecounters.query import BODY_BYTES_MAX, Request, parse_request
from streams.answers import Answers
from streams.metrics import Metrics
from streams.sessions import Account
from streams.web.docs import Docs
from streams.web.responses import json_response, middleware, plain_error

COUNTERS_PATHS: Final = ("/api/v2/overallCount/Ecounters", "/deepcall/api/v2/overallCount/Ecounters")
SERIES_PATHS: Final = ("/api/v2/overallCount/series", "/deepcall/api/v2/overallCount/series")


class Health(Protocol):
    """What the health routes ask of the worker."""

    def not_ready(self) -> str:
        """Why requests had better go elsewhere for now; "" if they need not."""

    def collect(self) -> None:
        """Bring the gauges up to date."""


class Api:
    """The HTTP application. ``authorize`` says who is asking, or raises Refused."""

    def __init__(
        self,
        authorize: Callable[[Request], Awaitable[Account]],
        answers: Answers,
        health: Health,
        metrics: Metrics,
        docs: Docs,
    ) -> None:
        self._authorize = authorize
        self._answers = answers
        self._health = health
        self._metrics = metrics
        self._docs = docs

    def application(self) -> web.Application:
        """An aiohttp application with all routes."""
        app = web.Application(middlewares=[middleware(self._metrics)], client_max_size=BODY_BYTES_MAX)
        for path in COUNTERS_PATHS:
            app.router.add_post(path, self.counters)
            app.router.add_options(path, self.options)
        for path in SERIES_PATHS:
            app.router.add_post(path, self.series)
            app.router.add_options(path, self.options)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/metrics", self.metrics)
        self._docs.add_to(app)
        return app

    async def counters(self, request: web.Request) -> web.Response:
        """POST /api/v2/overallCount/Ecounters: all counters of one account."""
        return await self._answer(request, parse_request(await request.read()))

    async def series(self, request: web.Request) -> web.Response:
        """POST /api/v2/overallCount/series: the counters of one account, step by step."""
        return await self._answer(request, parse_request(await request.read(), series=True))

    async def _answer(self, request: web.Request, asked: Request) -> web.Response:
        account = await self._authorize(asked)
        answer = self._answers.answer(account, asked, int(time.time() * 1000))
        if _matches(request.headers.get("If-None-Match", ""), answer.etag):
            return web.Response(status=304, headers=answer.headers)
        return json_response(answer.body, answer.headers)

    async def options(self, request: web.Request) -> web.Response:
        """OPTIONS: the common headers are the answer."""
        return web.Response(status=204)

    async def healthz(self, request: web.Request) -> web.Response:
        """GET /healthz: the process is alive."""
        return json_response(b'{"status":"ok"}')

    async def readyz(self, request: web.Request) -> web.Response:
        """GET /readyz: restored, connected, and lag under the limit."""
        why = self._health.not_ready()
        return plain_error(503, why) if why else json_response(b'{"status":"ready"}')

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics: for Prometheus."""
        self._health.collect()
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether the client has that answer already; by RFC 9110 it does not matter here whether a tag is weak."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
