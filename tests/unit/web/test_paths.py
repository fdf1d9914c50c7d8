"""The paths that clients know do not change by accident."""

from __future__ import annotations

from streams.web import paths


def test_the_paths_are_those_that_clients_have() -> None:
    """Clients, probes and other releases' workers have these paths written down: here they are literal as well."""
    for kind, served in (
        ("Ecounters", paths.COUNTERS_PATHS),
        ("series", paths.SERIES_PATHS),
        ("stream", paths.STREAM_PATHS),
    ):
        assert served == (f"/api/v2/overallCount/{kind}", f"/deepcall/api/v2/overallCount/{kind}")
    assert paths.PEER_PATH == "/internal/answer"
    assert paths.DASHBOARD_PATH == "/dashboard"
    assert (paths.HEALTH_PATH, paths.READY_PATH, paths.METRICS_PATH) == ("/healthz", "/readyz", "/metrics")
    assert (paths.OPENAPI_PATH, paths.ASYNCAPI_PATH, paths.DOCS_PATH) == ("/openapi.json", "/asyncapi.json", "/docs")
