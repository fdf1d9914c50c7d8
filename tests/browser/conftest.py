"""Fixtures of the dashboard's tests: a headless Chromium, a worker, and a page whose console is watched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from streams.local.children import Guard
from streams.local.embedded import Embedded
from tests.support.accounts import add_users
from tests.support.dashboard_page import DashboardPage, in_thread
from tests.support.tls_proxy import RESOLVER_RULES
from tests.support.workers import Deployment, Worker

WANTED: Final = "ECOUNTERS_TEST_BROWSER"
"""With the value 1 a missing Chromium fails these tests instead of skipping them."""
NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Without one the tests are skipped, or fail if ECOUNTERS_TEST_BROWSER is 1.

    The scope is the module: playwright's event loop occupies the thread for as long as the browser runs.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        leave_out = pytest.fail if os.environ.get(WANTED) == "1" else pytest.skip
        leave_out("there is no Chromium here: `apt-get install chromium` brings one")
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root, which is the user of containers. It opens only this machine's worker.
        arguments = [f"--host-resolver-rules={RESOLVER_RULES}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        with playwright.chromium.launch(executable_path=path, args=arguments) as chromium:
            yield chromium


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A broker and store of the module's own, which its tests may stop."""
    with Guard() as guard:
        started = Embedded.start(tmp_path_factory.mktemp("browser") / "store")
        guard.watch(started.child)
        yield started
        started.kill()
        guard.release(started.child)


@pytest.fixture
def worker(server: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that is ready, with one user, whose zone is India's."""
    settings = {"STALE_AFTER_MS": 500, "FLUSH_INTERVAL_MS": 200}
    deployment = Deployment(server.broker, server.redis_url, tmp_path_factory.mktemp("worker"), settings=settings)
    in_thread(deployment.create_topics)
    in_thread(add_users, deployment, [deployment.name])
    with Worker(deployment) as running:
        yield running.wait_ready()
    in_thread(deployment.end_all)


@pytest.fixture
def dashboard(browser: Browser, worker: Worker) -> Iterator[DashboardPage]:
    """The dashboard before the log-in. At the end the console must be free of errors and of requests elsewhere."""
    with browser.new_context(viewport={"width": 1_440, "height": 900}, locale="en") as context:
        page: Page = context.new_page()
        dashboard = DashboardPage(page, worker)
        yield dashboard
        dashboard.check()
