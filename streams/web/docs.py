"""The API for machines and for people: /openapi.json, /asyncapi.json, and /docs, which needs nothing from outside."""

from __future__ import annotations

from importlib.metadata import distribution, version
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from streams.web.documents import asyncapi, openapi
from streams.web.paths import ASYNCAPI_PATH, DOCS_PATH, OPENAPI_PATH
from streams.web.responses import json_response

SWAGGER_UI: Final = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))
"""Only its files are used; the package itself, which needs Flask, is never imported."""
OWN: Final = Path(__file__).parent / "pages"

FILES: Final = {
    "swagger-ui.css": SWAGGER_UI,
    "swagger-ui-bundle.js": SWAGGER_UI,
    "favicon-32x32.png": SWAGGER_UI,
    "docs.js": OWN,
}
"""What /docs loads, all of it from /docs/…"""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and do: nothing that is not this worker's."""
PAGE_HEADERS: Final = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}


class Docs:
    """The routes of the documents. ``topic``: the topic that producers publish events to."""

    def __init__(self, topic: str) -> None:
        known = version("ecounters")
        self._openapi = orjson.dumps(openapi.document(known))
        self._asyncapi = orjson.dumps(asyncapi.document(known, topic))
        self._page = (OWN / "docs.html").read_bytes()

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(OPENAPI_PATH, self.openapi)
        app.router.add_get(ASYNCAPI_PATH, self.asyncapi)
        app.router.add_get(DOCS_PATH, self.page)
        app.router.add_get(f"{DOCS_PATH}/{{name:{'|'.join(FILES)}}}", self.file)

    async def openapi(self, request: web.Request) -> web.Response:
        """GET /openapi.json."""
        return json_response(self._openapi)

    async def asyncapi(self, request: web.Request) -> web.Response:
        """GET /asyncapi.json."""
        return json_response(self._asyncapi)

    async def page(self, request: web.Request) -> web.Response:
        """GET /docs."""
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=PAGE_HEADERS)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """GET /docs/…: what the page loads."""
        name = request.match_info["name"]
        return web.FileResponse(FILES[name] / name, headers={**PAGE_HEADERS, "Cache-Control": "max-age=3600"})
