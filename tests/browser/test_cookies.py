"""Cookies that another site of the same domain sets do not make the dashboard show another account."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from streams.local.embedded import Embedded
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.dashboard_page import in_thread
from tests.support.tls_proxy import DOMAIN, SUBDOMAIN, Proxy, certificate, proxied
from tests.support.workers import Deployment, Worker

VICTIM, STRANGER = "victim", "u1"
ASKED_TO_LOG_IN = "#login-form"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that takes certificates which nobody has signed."""
    with browser.new_context(ignore_https_errors=True, locale="en") as context:
        yield context.new_page()


@pytest.fixture
def behind_proxy(server: Embedded, tmp_path: Path) -> Iterator[Worker]:
    """A worker that is told of one proxy before it, with two users."""
    deployment = Deployment(server.broker, server.redis_url, tmp_path, settings={"PROXIES": 1})
    in_thread(deployment.create_topics)
    in_thread(add_users, deployment, [VICTIM, STRANGER])
    with Worker(deployment) as running:
        yield running.wait_ready()


def set_by_subdomain(page: Page, proxy: Proxy, *cookies: str) -> None:
    """Let a page of the subdomain set cookies. Each is the text for document.cookie."""
    page.goto(proxy.url(SUBDOMAIN, "/"))
    for cookie in cookies:
        page.evaluate("cookie => { document.cookie = cookie }", cookie)


def log_in(page: Page) -> None:
    """Log the victim in, on the open page."""
    page.get_by_label("User").fill(VICTIM)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()


def test_over_tls_a_subdomain_cannot_set_the_cookie(page: Page, behind_proxy: Worker, tmp_path: Path) -> None:
    """Before and after the log-in: the dashboard asks to log in, and shows the account of who logged in."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    ssid = in_thread(open_session, behind_proxy.deployment)
    strange = [
        f"{prefix}ecounters={ssid}; domain={DOMAIN}; path={path}; secure"
        for prefix in ("", "__Host-", "__host-", "__Secure-")
        for path in ("/", "/dashboard", "/api/v2/overallCount/stream")
    ]
    with proxied(behind_proxy, certificate(tmp_path)) as proxy:
        set_by_subdomain(page, proxy, *strange)
        planted = {cookie["name"] for cookie in page.context.cookies(proxy.url(DOMAIN, "/dashboard"))}
        assert "ecounters" in planted and "__Host-ecounters" not in planted
        page.goto(proxy.url(DOMAIN, "/dashboard"))
        expect(page.locator(ASKED_TO_LOG_IN)).to_be_visible()
        log_in(page)
        expect(page.locator("#who")).to_have_text(VICTIM)
        expect(page.locator("#state-text")).to_have_text("Live")
        (cookie,) = (cookie for cookie in page.context.cookies() if cookie["name"] == "__Host-ecounters")
        assert (cookie["domain"], cookie["path"], cookie["secure"], cookie["httpOnly"]) == (DOMAIN, "/", True, True)
        set_by_subdomain(page, proxy, *strange)
        page.goto(proxy.url(DOMAIN, "/dashboard"))
        expect(page.locator("#who")).to_have_text(VICTIM)
        expect(page.locator("#state-text")).to_have_text("Live")
        page.get_by_role("button", name="Log out").click()
        expect(page.locator(ASKED_TO_LOG_IN)).to_be_visible()


def test_without_tls_two_cookies_are_refused(page: Page, behind_proxy: Worker) -> None:
    """A second cookie of the name shows neither account, and the page says why."""
    ssid = in_thread(open_session, behind_proxy.deployment)
    with proxied(behind_proxy, None) as proxy:
        page.goto(proxy.url(DOMAIN, "/dashboard"))
        log_in(page)
        expect(page.locator("#who")).to_have_text(VICTIM)
        set_by_subdomain(page, proxy, f"ecounters={ssid}; domain={DOMAIN}; path=/")
        page.goto(proxy.url(DOMAIN, "/dashboard"))
        expect(page.locator("#waiting")).to_contain_text("the cookie ecounters is there twice")
        assert page.locator("#who").text_content() not in (VICTIM, STRANGER)
