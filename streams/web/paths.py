"""The paths that a worker serves. Routes, API documents, commands and tests take the paths from this file.

The modules ``dashboard`` and ``docs`` add what is below DASHBOARD_PATH and DOCS_PATH.
The counters, the series and the stream are each served at two paths: the vendor's, and the same below ``/deepcall``.
"""

from __future__ import annotations

from typing import Final

COUNTERS_PATHS: Final = ("/api/v2/overallCount/Ecounters", "/deepcall/api/v2/overallCount/Ecounters")
"""POST: all counters of one account."""
SERIES_PATHS: Final = ("/api/v2/overallCount/series", "/deepcall/api/v2/overallCount/series")
"""POST: the counters of one account, step by step."""
STREAM_PATHS: Final = ("/api/v2/overallCount/stream", "/deepcall/api/v2/overallCount/stream")
"""GET: the counters of one account as they change, as Server-Sent Events."""

API_PATHS: Final = (*COUNTERS_PATHS, *SERIES_PATHS, *STREAM_PATHS)
PATH_CHARACTERS_MAX: Final = 200
"""No path of ours is longer. aiohttp takes 16 ms to find that there is nothing at a path of 8,000 slashes."""
NOWHERE: Final = "/"
"""A path at which there is nothing."""

PEER_PATH: Final = "/internal/answer"
"""POST: another worker's query for a user whose partition is on this worker."""

TAKEN_PATH: Final = "/internal/taken"
"""POST: another worker says that it answers for a partition from now on, which this worker had before."""

DASHBOARD_PATH: Final = "/dashboard"
"""GET: the dashboard's page. Its files, its log-in and its series are below this path."""

HEALTH_PATH: Final = "/healthz"
"""GET: 200 as long as the process serves."""
READY_PATH: Final = "/readyz"
"""GET: 200 if requests should be sent to this worker, else 503 with the reason."""
METRICS_PATH: Final = "/metrics"
"""GET: the metrics, in Prometheus' text format."""
PROBE_PATHS: Final = frozenset((HEALTH_PATH, READY_PATH, METRICS_PATH))
"""What machines ask every few seconds: counted apart from the requests of clients."""

OPENAPI_PATH: Final = "/openapi.json"
"""GET: the HTTP API as an OpenAPI document."""
ASYNCAPI_PATH: Final = "/asyncapi.json"
"""GET: the events that producers publish, as an AsyncAPI document."""
DOCS_PATH: Final = "/docs"
"""GET: the OpenAPI document as a page. Its files are below this path."""

_BY_LOWER_CASE: Final = {path.lower(): path for path in API_PATHS}


def served_path(path: str, prefix: str = "") -> str:
    """The path that is served for the path of a request: without ``prefix`` if it begins with that; else the same, but
    for two kinds.

    A path of the API in another case, or with one slash behind it, is that path of the API: the vendor's server takes
    both. A path of more than PATH_CHARACTERS_MAX is NOWHERE.
    """
    if prefix and path.startswith(prefix + "/"):
        path = path.removeprefix(prefix)
    if len(path) > PATH_CHARACTERS_MAX:
        return NOWHERE
    return _BY_LOWER_CASE.get(path.lower().removesuffix("/"), path)
