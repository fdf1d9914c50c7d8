"""The dashboard in a browser, as a person uses it."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from playwright.sync_api import ConsoleMessage, Page, Request, expect

from tests.support.accounts import TOKEN
from tests.support.workers import Worker

P = ParamSpec("P")
T = TypeVar("T")

SOON_MS: Final = 15_000
EXPECTED: Final = re.compile(r"Failed to load resource: (net::ERR_|the server responded .* (403|429|503))")
"""Chromium's own lines about replies that are errors. Any other line on the console is a fault of the page."""


def in_thread(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that starts an event loop, in another thread: playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do, *args, **kwargs).result()


class DashboardPage:
    """One page of the dashboard. Its methods wait up to SOON_MS, or ``within_ms``, and fail after that.

    ``home``: what the page's addresses begin with; by default that is the worker.
    ``problems``: unexpected lines on the console, script errors, requests to other hosts, tokens in URLs.
    """

    def __init__(self, page: Page, worker: Worker, home: str = "") -> None:
        self.page = page
        self.worker = worker
        self.user = worker.deployment.name
        self.problems: list[str] = []
        self.said: list[str] = []
        self._home = home or f"http://127.0.0.1:{worker.port}/"
        page.set_default_timeout(SOON_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)
        if not EXPECTED.match(message.text):
            self.problems.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self._home):
            self.problems.append(f"asked {request.url}")
        if TOKEN in request.url:
            self.problems.append(f"the token is in {request.url}")

    def check(self) -> None:
        """Assert that there were no problems."""
        assert not self.problems

    def open(self) -> DashboardPage:
        """Go to the dashboard."""
        response = self.page.goto(self._home + "dashboard")
        assert response is not None and response.status == 200
        return self

    def log_in(self, token: str = TOKEN) -> DashboardPage:
        """Type user and token and click "Log in"."""
        self.page.get_by_label("User").fill(self.user)
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()
        return self

    def live(self) -> DashboardPage:
        """Wait until the page says "Live"."""
        self.state("Live")
        return self

    def state(self, word: str, within_ms: float = SOON_MS) -> None:
        """Wait until the state of the connection reads ``word``."""
        expect(self.page.locator("#state-text")).to_have_text(word, timeout=within_ms)

    def tile(self, name: str, value: str, within_ms: float = SOON_MS) -> None:
        """Wait until a tile shows the value."""
        expect(self.page.locator(f"#tile-{name} .value")).to_have_text(value, timeout=within_ms)
