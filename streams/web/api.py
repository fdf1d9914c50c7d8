"""The routes of a worker: the counters, its health, its metrics."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ecounters.query.request import BODY_BYTES_MAX, parse_request
from streams.metrics.catalogue import Metrics
from streams.web.dashboard import Dashboard
from streams.web.docs import Docs
from streams.web.paths import (
    COUNTERS_PATHS,
    HEALTH_PATH,
    METRICS_PATH,
    PEER_PATH,
    READY_PATH,
    SERIES_PATHS,
    STREAM_PATHS,
)
from streams.web.peers import PeerRouter
from streams.web.push import PushStreams
from streams.web.responder import Respond
from streams.web.responses import body_of, json_response, middleware, plain_error


class Health(Protocol):
    """What the health routes ask of the worker."""

    def not_ready(self) -> str:
        """Why requests had better go elsewhere for now; "" if they need not."""

    def collect(self) -> None:
        """Bring the gauges up to date."""


class Api:
    """The HTTP application: all routes of a worker. Closes the connections to other workers when the server ends."""

    def __init__(
        self,
        respond: Respond,
        router: PeerRouter,
        streams: PushStreams,
        dashboard: Dashboard,
        docs: Docs,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._respond = respond
        self._router = router
        self._streams = streams
        self._dashboard = dashboard
        self._docs = docs
        self._health = health
        self._metrics = metrics

    def application(self) -> web.Application:
        """An aiohttp application with all routes."""
        app = web.Application(middlewares=[middleware(self._metrics)], client_max_size=BODY_BYTES_MAX)
        for path in COUNTERS_PATHS:
            app.router.add_post(path, self.counters)
            app.router.add_options(path, self.options)
        for path in SERIES_PATHS:
            app.router.add_post(path, self.series)
            app.router.add_options(path, self.options)
        app.router.add_post(PEER_PATH, self._router.answer_peer)
        app.on_cleanup.append(self._close)
        for path in STREAM_PATHS:
            app.router.add_get(path, self._streams.stream, allow_head=False)
            app.router.add_options(path, self.options)
        self._dashboard.add_to(app.router)
        app.router.add_get(HEALTH_PATH, self.healthz)
        app.router.add_get(READY_PATH, self.readyz)
        app.router.add_get(METRICS_PATH, self.metrics)
        self._docs.add_to(app)
        return app

    async def counters(self, request: web.Request) -> web.Response:
        """POST /api/v2/overallCount/Ecounters: all counters of one account."""
        return await self._respond(request, parse_request(await body_of(request)))

    async def series(self, request: web.Request) -> web.Response:
        """POST /api/v2/overallCount/series: the counters of one account, step by step."""
        return await self._respond(request, parse_request(await body_of(request), series=True))

    async def _close(self, app: web.Application) -> None:
        await self._router.close()

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
