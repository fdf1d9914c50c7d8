"""The dashboard in a real browser, on a real worker."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Route, expect

from streams.local.embedded import Embedded
from tests.support.accounts import TOKEN
from tests.support.dashboard_page import DashboardPage, in_thread
from tests.support.published_calls import RecentCall, publish_values
from tests.support.workers import Deployment, Worker

SHOWN_MS = 2_500
"""From the acknowledgement of an event to the page: the worker looks once a second, and the machine may be busy."""
NOTICED_MS = 25_000


def publish(deployment: Deployment, *values: bytes) -> None:
    """Publish events of the deployment's user; returns when the broker has them."""
    in_thread(publish_values, deployment, deployment.name, *values)


def started(deployment: Deployment, name: str, *, kind: str = "IBD") -> RecentCall:
    """A live call of the deployment's user."""
    call = RecentCall(name, deployment.name)
    call.started(0, kind, campaignId="77", did="15550001", number=f"+1{name}").ringing(1)
    return call


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process with SIGSTOP for the time of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def held(page: Page, address: str) -> Iterator[None]:
    """Let the page wait for its requests to ``address``, a pattern of playwright, until the block ends."""
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route(address, hold)
    try:
        yield
    finally:
        for route in waiting:
            route.continue_()
        page.unroute(address)


def test_a_published_call_appears_on_the_page_within_a_second_or_so(dashboard: DashboardPage) -> None:
    """A call that is published after the log-in appears in tiles and cards, and leaves the live ones when it ends."""
    deployment = dashboard.worker.deployment
    dashboard.open().log_in().live()
    dashboard.tile("live", "0")
    call = started(deployment, "c1")
    publish(deployment, *call.values())
    dashboard.tile("live", "1", SHOWN_MS)
    for card, text in (("type", "Inbound"), ("campaign", "77"), ("did", "15550001")):
        row = dashboard.page.locator(f"#card-{card} tbody tr")
        expect(row).to_have_count(1)
        expect(row.locator("th")).to_have_text(text)
        expect(row.locator("td")).to_have_text("1")
    publish(deployment, *call.answered(3).ended(20, 16).values()[2:])
    dashboard.tile("answered", "1", SHOWN_MS)
    dashboard.tile("live", "0")
    dashboard.tile("talk", "17 s")
    expect(dashboard.page.locator("#card-did")).to_contain_text("No live calls on a DID")
    expect(dashboard.page.locator("#card-status tbody th")).to_have_text("Status 16")


def test_the_chart_shows_the_numbers_of_the_series(dashboard: DashboardPage) -> None:
    """The chart and the table beside it show the numbers of the series route, in the step that the person chooses."""
    deployment = dashboard.worker.deployment
    publish(
        deployment, *started(deployment, "c1").answered(3).ended(9, 16).values(), *started(deployment, "c2").values()
    )
    page = dashboard.open().log_in().live().page
    expect(page.locator("#plot")).to_have_attribute("aria-label", "Stacked bars of calls: 2 calls, 0 missed. "
                                                    "The table below has the numbers.")  # fmt: skip
    page.get_by_text("The chart's numbers as a table").click()
    rows = page.locator("#chart-table tbody tr")
    assert rows.count() >= 24
    table = [row.split("\t") for row in page.locator("#chart-table tbody").inner_text().split("\n")]
    assert [sum(int(row[at]) for row in table) for at in range(1, 6)] == [1, 0, 0, 1, 2]
    drawn = "document.querySelector('#plot').getContext('2d').getImageData(0, 0, 4000, 4000).data.some((byte) => byte)"
    assert page.evaluate(drawn)
    page.get_by_label("14 days").check()
    expect(rows).to_have_count(14)


def test_a_worker_that_hangs_is_shown_and_the_page_reconnects(dashboard: DashboardPage) -> None:
    """While the worker hangs a banner shows the age of the numbers; when it runs again, the page is live by itself."""
    dashboard.open().log_in().live()
    with stopped(dashboard.worker.process.pid):
        dashboard.state("Connection lost", NOTICED_MS)
        expect(dashboard.page.locator("#banner")).to_contain_text("Connection lost. The numbers are old")
        expect(dashboard.page.locator("#banner-more")).to_contain_text("Last heard 1")
    dashboard.state("Live", NOTICED_MS)
    expect(dashboard.page.locator("#banner")).to_be_hidden()
    expect(dashboard.page.locator("#announce")).to_have_text("The numbers are live again.")


def test_the_page_reconnects_to_a_restarted_worker(dashboard: DashboardPage) -> None:
    """After the worker is killed and restarted at its address, the page shows what was published meanwhile too."""
    deployment, old = dashboard.worker.deployment, dashboard.worker
    publish(deployment, *started(deployment, "c1").values())
    dashboard.open().log_in().live()
    dashboard.tile("total", "1")
    old.kill()
    dashboard.state("Connection lost", 3_000)
    publish(deployment, *started(deployment, "c2").values())
    with Worker(deployment, old, port=old.port).wait_ready():
        dashboard.state("Live", NOTICED_MS)
        dashboard.tile("total", "2", NOTICED_MS)


def test_the_page_says_that_numbers_may_be_old_while_kafka_hangs(dashboard: DashboardPage, server: Embedded) -> None:
    """While the worker hears nothing of Kafka the page says that its numbers may be old, and stays connected."""
    dashboard.open().log_in().live()
    with stopped(server.child.pid):
        dashboard.state("Incomplete")
        expect(dashboard.page.locator("#banner")).to_contain_text("may be old or incomplete")
    dashboard.live()


def test_a_wrong_token_is_shown_and_can_be_corrected(dashboard: DashboardPage) -> None:
    """A wrong token shows an error, to screen readers too, opens no session, and can be typed again."""
    page = dashboard.open().log_in("wrong").page
    expect(page.get_by_role("alert")).to_have_text("There is no such user, or the token is not this user's.")
    assert not page.context.cookies()
    expect(page.locator("#token")).to_be_focused()
    dashboard.log_in().live()


def test_too_many_wrong_log_ins_are_shown_as_such(dashboard: DashboardPage) -> None:
    """A 429 is shown as too many wrong log-ins and not as a lost connection, with and without a cookie."""
    for at in range(25):
        dashboard.worker.ask({"userId": f"nobody{at}", "token": "guess"})
    page = dashboard.open().log_in("wrong").page
    expect(page.get_by_role("alert")).to_have_text(
        re.compile(r"Too many wrong log-ins from here; try again in \d+ s\.")
    )
    page.context.add_cookies([{"name": "ecounters", "value": "unknown", "url": page.url}])
    page.reload()
    expect(page.locator("#waiting")).to_contain_text("Too many wrong log-ins from here; try again in")


def test_names_from_switches_are_shown_as_text(dashboard: DashboardPage) -> None:
    """A name of a campaign, DID or IVR that holds HTML is shown as text and runs no script."""
    name = "<img src=x onerror=alert(1)>"
    deployment, page = dashboard.worker.deployment, dashboard.page

    def note_dialog(dialog: Dialog) -> None:
        dashboard.problems.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note_dialog)
    call = RecentCall("c1", deployment.name)
    call.started(0, "IBD", campaignId=name, did=name, number="+1").ringing(1)
    publish(deployment, *call.values())
    dashboard.open().log_in().live()
    for card in ("campaign", "did"):
        expect(page.locator(f"#card-{card} tbody th")).to_have_text(name)
    expect(page.locator("img[src=x]")).to_have_count(0)


def test_the_session_cookie_is_http_only_and_ends_with_the_log_out(dashboard: DashboardPage) -> None:
    """Scripts cannot read the cookie, it survives a reload, and a copy of it is worth nothing after the log-out."""
    page = dashboard.open().log_in().live().page
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", False)
    assert cookie["expires"] > time.time() + 29 * 86_400
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("Object.keys(localStorage)") in ([], ["theme"])
    page.reload()
    dashboard.live()
    old_cookie = {"Cookie": f"ecounters={cookie['value']}"}
    assert (
        dashboard.worker.request("GET", "/dashboard/session", headers=old_cookie).json["message"]["userId"]
        == dashboard.user
    )
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("User")).to_be_focused()
    assert not page.context.cookies()
    deadline = time.monotonic() + 5
    while dashboard.worker.request("GET", "/dashboard/session", headers=old_cookie).json["message"] is not None:
        assert time.monotonic() < deadline, "the session goes on"
        time.sleep(0.1)
    page.reload()
    expect(page.get_by_label("User")).to_be_visible()


def test_the_page_can_be_used_with_the_keyboard_alone(dashboard: DashboardPage) -> None:
    """Tab, arrows, space and Enter are enough to log in, skip to the numbers, change span and theme, and log out."""
    page = dashboard.open().page
    expect(page.get_by_label("User")).to_be_focused()
    keys = page.keyboard
    keys.type(dashboard.user)
    keys.press("Tab")
    keys.type(TOKEN)
    keys.press("Enter")
    dashboard.live()
    expect(page.locator("#numbers")).to_be_focused()
    keys.press("Shift+Tab")
    expect(page.get_by_role("button", name="Log out")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    keys.press("Shift+Tab")
    skip = page.get_by_text("Skip to the numbers")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    keys.press("Enter")
    expect(page.locator("#numbers")).to_be_focused()
    keys.press("Tab")
    keys.press("ArrowRight")
    expect(page.get_by_label("24 hours")).to_be_checked()
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(page.get_by_label("User")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1_920, 1_080), (390, 844)])
def test_the_page_has_no_accessibility_faults(
    browser: Browser, worker: Worker, theme: str, width: int, height: int
) -> None:
    """axe finds nothing while the page connects, at the log-in and on the board, in either theme, on wall and phone.

    And nothing is wider than the page.
    """
    deployment = worker.deployment
    publish(deployment, *started(deployment, "c1").dtmf(2, "1").values())
    scheme: Literal["dark", "light"] = "dark" if theme == "dark" else "light"
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        # axe is injected into the page, which its Content-Security-Policy would forbid.
        page = context.new_page()
        dashboard = DashboardPage(page, worker)
        with held(page, "**/dashboard/session"):
            dashboard.open()
            expect(page.get_by_text("Connecting …")).to_be_visible()
            assert not _violations(dashboard)
        expect(page.get_by_label("User")).to_be_visible()
        assert not _violations(dashboard)
        dashboard.log_in().live().tile("total", "1")
        expect(page.locator("#chart-table tbody tr")).not_to_have_count(0)
        page.get_by_text("The chart's numbers as a table").click()
        assert not _violations(dashboard)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dashboard.check()


def _violations(dashboard: DashboardPage) -> list[str]:
    results = Axe().run(dashboard.page)
    return [f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html']}" for rule in results.response["violations"]]
