"""A worker's replies against its OpenAPI document: schemathesis generates requests and checks the replies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from ecounters.simulator.world import Plan
from streams.app import build
from streams.settings.table import Settings
from streams.web.documents.openapi import document
from tests.support.accounts import TOKEN, add_users
from tests.support.engine_fakes import LOG
from tests.support.log_publisher import LogPublisher, first_messages, yesterday_ms
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

USER = "u1"
DOCUMENT = document(version("ecounters"))
API = schemathesis.openapi.from_dict(DOCUMENT).exclude(path_regex="^/deepcall|/stream$")
"""Routes under /deepcall run the same code, and a stream does not end: both are left out."""
SERIES = API.include(path_regex="/series$")
LIMITS: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
FOR_ITSELF = r"\{|^/internal/|^/dashboard/"
"""Routes of the pages, of the dashboard and between workers: they are not in the document."""
StatusCounts = Counter[tuple[str, int]]
"""How often an operation gave a status."""
NOT_HERE: list[Any] = CHECKS.get_by_names(["positive_data_acceptance"])
"""The refusal of dates that are valid by their form and before what is kept."""
TOO_LARGE: list[Any] = CHECKS.get_by_names(["negative_data_rejection"])
"""schemathesis does not accept 413 as the refusal of an invalid body."""


@pytest.fixture(scope="module")
def worker(broker: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that has counted a log, knows one user, and does not throttle."""
    deployment = Deployment(broker, redis_url, tmp_path_factory.mktemp("api"), settings={"THROTTLE_PER_MIN": 1_000_000})
    deployment.create_topics()
    add_users(deployment, [USER])
    with Worker(deployment) as started:
        LogPublisher(deployment, first_messages(Plan(yesterday_ms(), users=2, rate_per_s=0.1), 5_000), rate=0).wait()
        wait_until_flushed(deployment)
        yield started.wait_ready()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all requests."""
    with requests.Session() as kept:
        yield kept


@pytest.fixture(scope="module")
def status_counts() -> Iterator[StatusCounts]:
    """Counts statuses by operation. At the end enough replies must have been successes."""
    counts: StatusCounts = Counter()
    yield counts
    assert min(counts["counters", status] for status in (200, 400, 403)) > 5, counts
    assert counts["series", 200] > 5, counts


@API.exclude(path_regex="/series$").parametrize()
@settings(max_examples=60, phases=(Phase.explicit, Phase.generate), **LIMITS)
def test_every_reply_is_as_the_openapi_document_says(
    case: schemathesis.Case[Any], worker: Worker, session: requests.Session, status_counts: StatusCounts
) -> None:
    """Generated requests get documented statuses, headers and bodies, and never a 500."""
    check(case, worker, session, status_counts)


@SERIES.parametrize()
@settings(max_examples=60, phases=(Phase.generate,), **LIMITS)
def test_every_series_is_as_the_openapi_document_says(
    case: schemathesis.Case[Any], worker: Worker, session: requests.Session, status_counts: StatusCounts
) -> None:
    """Generated requests for series get replies as documented."""
    check(case, worker, session, status_counts)


def check(case: schemathesis.Case[Any], worker: Worker, session: requests.Session, status_counts: StatusCounts) -> None:
    """Send one request and check the reply against the document. Most valid requests get right credentials."""
    positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if positive and isinstance(case.body, dict) and len(str(case.body.get("ssid", ""))) % 4 != 1:
        # Generated credentials are always wrong; most valid requests get right ones.
        case.body = {key: value for key, value in case.body.items() if key not in ("ssid", "userId", "token")}
        case.body |= {"userId": USER, "token": TOKEN}
    response = case.call(base_url=f"http://127.0.0.1:{worker.port}", session=session, timeout=10)
    status_counts[case.operation.definition.raw["operationId"], response.status_code] += 1
    too_large = TOO_LARGE if response.status_code == 413 else []
    case.validate_response(response, excluded_checks=NOT_HERE + too_large)


def test_every_route_is_in_the_openapi_document(worker: Worker) -> None:
    """The worker serves the document, and each of its routes is in it, but for the pages' files."""
    assert worker.request("GET", "/openapi.json").json == DOCUMENT
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert routes() - documented == set()
    assert documented - routes() == set()


def routes() -> set[tuple[str, str]]:
    """(method, path) of all routes of a worker, but for files of pages."""
    app = build(Settings(), LOG).api.application()
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return {(method, path) for method, path in found if method != "HEAD" and not re.search(FOR_ITSELF, path)}


def test_asyncapi_and_docs_page_are_served(worker: Worker) -> None:
    """/asyncapi.json names the topic, and /docs loads files of this worker alone."""
    events = worker.request("GET", "/asyncapi.json").json
    assert events["channels"]["events"]["address"] == worker.deployment.name
    page = worker.request("GET", "/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    text = page.body.decode()
    assert not re.search(r"<script[^>]*>[^<]|<style|style=|//", text), "all of it comes from files of this worker"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(loaded) == 5
    for path in loaded:
        assert worker.request("GET", f"/{path}").status == 200
    assert worker.request("GET", "/docs/LICENSE").status == 404
    assert worker.request("GET", "/docs/docsXjs").status == 404
