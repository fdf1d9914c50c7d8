"""The API's documents: /openapi.json, /asyncapi.json, and /docs, a page that shows /openapi.json with Swagger UI.

The page loads nothing from other hosts: Swagger UI's files come from the package flask-swagger-ui.
"""

from __future__ import annotations

import re
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from streams.web.documents import asyncapi, openapi
from streams.web.paths import ASYNCAPI_PATH, DOCS_PATH, OPENAPI_PATH
from streams.web.responses import json_response

SWAGGER_UI: Final = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))
"""The directory of Swagger UI's files. The package flask-swagger-ui is not imported, because it needs Flask."""
PAGES: Final = Path(__file__).parent / "pages"
"""The directory of this project's own pages and scripts."""

FILES: Final = {
    "swagger-ui.css": SWAGGER_UI,
    "swagger-ui-bundle.js": SWAGGER_UI,
    "favicon-32x32.png": SWAGGER_UI,
    "docs.js": PAGES,
}
"""Name of a file below /docs/ that the page loads -> the directory that holds it."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: it may load files and send requests to this worker only."""
PAGE_HEADERS: Final = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}


class Docs:
    """The routes of the documents. The constructor builds the documents; ``topic``: the topic of events."""

    def __init__(self, topic: str) -> None:
        release = version("ecounters")
        self._openapi = orjson.dumps(openapi.document(release))
        self._asyncapi = orjson.dumps(asyncapi.document(release, topic))
        self._page = (PAGES / "docs.html").read_bytes()

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(OPENAPI_PATH, self.openapi)
        app.router.add_get(ASYNCAPI_PATH, self.asyncapi)
        app.router.add_get(DOCS_PATH, self.page)
        app.router.add_get(f"{DOCS_PATH}/{{name:{'|'.join(map(re.escape, FILES))}}}", self.file)

    async def openapi(self, request: web.Request) -> web.Response:
        """GET /openapi.json: the HTTP API."""
        return json_response(self._openapi)

    async def asyncapi(self, request: web.Request) -> web.Response:
        """GET /asyncapi.json: the events, and the topics that they are published to."""
        return json_response(self._asyncapi)

    async def page(self, request: web.Request) -> web.Response:
        """GET /docs: the page."""
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=PAGE_HEADERS)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """GET /docs/<name>: one of FILES, which a client may cache for an hour."""
        name = request.match_info["name"]
        return web.FileResponse(FILES[name] / name, headers={**PAGE_HEADERS, "Cache-Control": "max-age=3600"})
