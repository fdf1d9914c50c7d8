"""The paths that clients know do not change by accident."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("path", paths.API_PATHS)
def test_a_path_of_the_api_is_served_in_any_case_and_with_a_slash(path: str) -> None:
    """As the vendor's server does; two slashes are another path."""
    for spelt in (path, path + "/", path.lower(), path.upper(), path.upper() + "/"):
        assert paths.served_path(spelt) == path
    for other in (path + "//", "/" + path, path + "/x", path[:-1], path + ";"):
        assert paths.served_path(other) == other


def test_a_path_loses_the_prefix_once() -> None:
    """Before anything else is looked at; what only begins like the prefix stays."""
    path = paths.COUNTERS_PATHS[0]
    assert paths.served_path("/a/b" + path.lower() + "/", "/a/b") == path
    assert paths.served_path(path, "/a/b") == path
    for other in ("/a/b", "/a/bc/healthz", "/A/b/healthz", "/a/healthz"):
        assert paths.served_path(other, "/a/b") == other
    assert paths.served_path("/a/b/a/b/healthz", "/a/b") == "/a/b/healthz"
    assert paths.served_path("/a/b" + "/" * 201, "/a/b") == paths.NOWHERE


@pytest.mark.parametrize("path", ["/", "/healthz", "/Healthz", "/healthz/", "/Internal/answer", "/DASHBOARD", "*", ""])
def test_other_paths_are_exact(path: str) -> None:
    """What is no path of the API stays as it is; a very long path is nowhere."""
    assert paths.served_path(path) == path
    assert paths.served_path("/" + "a" * 199) != paths.NOWHERE
    assert paths.served_path("/" * 201) == paths.NOWHERE
