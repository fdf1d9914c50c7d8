"""The dashboard and the documents under a path prefix, which a proxy leaves there or takes off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streams.local.embedded import Embedded
from tests.support.accounts import add_users
from tests.support.dashboard_page import DashboardPage, in_thread
from tests.support.tls_proxy import proxied
from tests.support.workers import Deployment, Worker

PREFIX = "/phone/counters"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser of its own."""
    with browser.new_context(locale="en") as context:
        yield context.new_page()


@pytest.fixture
def plain(server: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with one user, of the deployment's name."""
    made = Deployment(server.broker, server.redis_url, tmp_path_factory.mktemp("prefix"))
    in_thread(made.create_topics)
    in_thread(add_users, made, [made.name])
    yield made
    in_thread(made.end_all)


def use(page: Page, worker: Worker, home: str) -> set[str | None]:
    """Log in, see the stream and the chart, come back with the cookie, log out; then the documents.

    Returns the names of the page's cookies.
    """
    dashboard = DashboardPage(page, worker, home)
    dashboard.open().log_in().live()
    dashboard.tile("live", "0")
    expect(page.locator("#plot")).to_have_attribute("aria-label", re.compile("0 calls"))
    page.goto(home + "dashboard/")
    assert page.url == home + "dashboard"
    dashboard.live()
    names = {cookie.get("name") for cookie in page.context.cookies()}
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.goto(home + "docs")
    expect(page.locator("#docs .opblock").first).to_be_visible()
    dashboard.check()
    return names


def test_the_dashboard_works_where_a_proxy_leaves_the_prefix(page: Page, plain: Deployment) -> None:
    """The worker is told the prefix, and serves with and without it."""
    with Worker(plain.with_settings(PATH_PREFIX=PREFIX)) as worker:
        worker.wait_ready()
        assert use(page, worker, f"http://127.0.0.1:{worker.port}{PREFIX}/") == {"ecounters.phone.counters"}
        assert worker.request("GET", f"{PREFIX}x/dashboard").status == 404


def test_the_dashboard_works_where_a_proxy_takes_the_prefix_off(page: Page, plain: Deployment) -> None:
    """The worker knows nothing of a prefix."""
    with Worker(plain) as worker:
        worker.wait_ready()
        with proxied(worker, None, strips=PREFIX) as proxy:
            use(page, worker, proxy.url("127.0.0.1", PREFIX + "/"))
