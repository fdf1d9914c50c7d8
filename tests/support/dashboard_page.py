"""The dashboard as a person sees it, in a browser."""

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
"""A browser's own words for an answer that is an error; everything else on the console is a mistake of the page."""


def in_thread(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function gives that runs an event loop of its own: playwright has one running in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do, *args, **kwargs).result()


class DashboardPage:
    """One page. ``problems``: what the console said that it must not, and what was asked of others."""

    def __init__(self, page: Page, worker: Worker) -> None:
        self.page = page
        self.worker = worker
        self.user = worker.deployment.name
        self.problems: list[str] = []
        self.said: list[str] = []
        self._home = f"http://127.0.0.1:{worker.port}/"
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
        """Nothing went wrong unseen."""
        assert not self.problems

    def open(self) -> DashboardPage:
        """Go there."""
        response = self.page.goto(self._home + "dashboard")
        assert response is not None and response.status == 200
        return self

    def log_in(self, token: str = TOKEN) -> DashboardPage:
        """With the mouse."""
        self.page.get_by_label("User").fill(self.user)
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()
        return self

    def live(self) -> DashboardPage:
        """Until it says that it is."""
        self.state("Live")
        return self

    def state(self, word: str, within_ms: float = SOON_MS) -> None:
        """Until it says so of its connection."""
        expect(self.page.locator("#state-text")).to_have_text(word, timeout=within_ms)

    def tile(self, name: str, value: str, within_ms: float = SOON_MS) -> None:
        """Until a number has that value."""
        expect(self.page.locator(f"#tile-{name} .value")).to_have_text(value, timeout=within_ms)
