"""The HTTP application of a worker: all routes, and the handlers of counters, health and metrics."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ecounters.query.request import BODY_BYTES_MAX, parse_request
from streams.metrics.catalogue import Metrics
from streams.metrics.exposition import exposition
from streams.web.dashboard import Dashboard
from streams.web.docs import Docs
from streams.web.handover import Handover
from streams.web.paths import (
    COUNTERS_PATHS,
    HEALTH_PATH,
    METRICS_PATH,
    PEER_PATH,
    READY_PATH,
    SERIES_PATHS,
    STREAM_PATHS,
    TAKEN_PATH,
)
from streams.web.peers import PeerRouter
from streams.web.push import PushStreams
from streams.web.responder import Respond
from streams.web.responses import PREFLIGHT_HEADERS, body_of, json_response, middleware, plain_error


class Health(Protocol):
    """What the routes need to know of the worker's state. ``engine.health.WorkerHealth`` implements it."""

    def not_ready(self) -> str:
        """Why requests should be sent to other workers for now, as one line; "" if this worker is ready."""

    @property
    def stopping(self) -> bool:
        """Whether this worker is being stopped."""

    def delays(self) -> dict[str, Any]:
        """What keeps the counters from being up to date: field of the body of /readyz -> value."""

    def waiting(self) -> list[str]:
        """Why partitions of this worker wait for an operator, one line each."""

    async def collect(self) -> None:
        """Set all gauges of the metrics to their present values."""


class Api:
    """All routes of a worker as one aiohttp application.

    A handler raises RequestRefused for a request that is wrong; the middleware turns the exception into a response.
    """

    def __init__(
        self,
        respond: Respond,
        router: PeerRouter,
        handover: Handover,
        streams: PushStreams,
        dashboard: Dashboard,
        docs: Docs,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._respond = respond
        self._router = router
        self._handover = handover
        self._streams = streams
        self._dashboard = dashboard
        self._docs = docs
        self._health = health
        self._metrics = metrics

    def application(self, *, with_admin: bool = True) -> web.Application:
        """An aiohttp application with all routes; those of ``admin_application`` only ``with_admin``.

        Its cleanup closes the connections to other workers.
        """
        app = web.Application(middlewares=[middleware(self._metrics)], client_max_size=BODY_BYTES_MAX)
        for path in COUNTERS_PATHS:
            app.router.add_post(path, self.counters)
            app.router.add_options(path, self.options)
        for path in SERIES_PATHS:
            app.router.add_post(path, self.series)
            app.router.add_options(path, self.options)
        app.router.add_post(PEER_PATH, self._router.reply_to_peer)
        app.router.add_post(TAKEN_PATH, self._handover.hear)
        app.on_cleanup.append(self._close)
        app.on_response_prepare.append(self._end_connection)
        for path in STREAM_PATHS:
            app.router.add_get(path, self._streams.stream, allow_head=False)
            app.router.add_options(path, self.options)
        self._dashboard.add_to(app.router)
        if with_admin:
            self._add_admin(app)
        return app

    def admin_application(self) -> web.Application:
        """An application with the routes for those who run the worker: health, metrics and documents."""
        app = web.Application(middlewares=[middleware(self._metrics)], client_max_size=BODY_BYTES_MAX)
        self._add_admin(app)
        return app

    def _add_admin(self, app: web.Application) -> None:
        app.router.add_get(HEALTH_PATH, self.healthz)
        app.router.add_get(READY_PATH, self.readyz)
        app.router.add_get(METRICS_PATH, self.metrics)
        self._docs.add_to(app)

    async def counters(self, request: web.Request) -> web.Response:
        """POST /api/v2/overallCount/Ecounters: all counters of one account."""
        return await self._respond(request, parse_request(await body_of(request)))

    async def series(self, request: web.Request) -> web.Response:
        """POST /api/v2/overallCount/series: the counters of one account, step by step."""
        return await self._respond(request, parse_request(await body_of(request), series=True))

    async def _end_connection(self, request: web.Request, response: web.StreamResponse) -> None:
        """Close the connection after a response, once the worker is being stopped: proxies keep connections, and would
        send a request into one in the moment in which the worker ends."""
        if self._health.stopping:
            response.force_close()
            response.headers["Connection"] = "close"

    async def _close(self, app: web.Application) -> None:
        await self._router.close()

    async def options(self, request: web.Request) -> web.Response:
        """OPTIONS: no content. The middleware adds the headers that a browser asks for."""
        return web.Response(status=204, headers=PREFLIGHT_HEADERS)

    async def healthz(self, request: web.Request) -> web.Response:
        """GET /healthz: 200 as long as the process serves."""
        return json_response(b'{"status":"ok"}')

    async def readyz(self, request: web.Request) -> web.Response:
        """GET /readyz: 200 if the worker can answer; else 503 with the reason.

        The body also says what keeps the counters from being up to date, and names in ``waiting`` the partitions that
        wait for an operator. Neither changes the status.
        """
        reason = self._health.not_ready()
        if reason:
            return plain_error(503, reason)
        waiting = self._health.waiting()
        more = {"waiting": waiting} if waiting else {}
        return json_response(orjson.dumps({"status": "ready", **self._health.delays(), **more}))

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics: all metrics, in Prometheus' text format. Brings the gauges up to date first."""
        await self._health.collect()
        text = await exposition(self._metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
