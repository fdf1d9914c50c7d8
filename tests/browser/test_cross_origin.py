"""A page of another origin asks for counters."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from streams.web.responses import EXPOSED_HEADERS
from tests.support.accounts import TOKEN
from tests.support.tls_proxy import SUBDOMAIN, proxied
from tests.support.workers import PATH, Worker

ASK = """async ([url, body, headers]) => {
    const reply = await fetch(url, {
        method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json", ...headers},
    });
    return {status: reply.status, headers: Object.fromEntries(reply.headers), text: await reply.text()};
}"""
READABLE_ANYWAY = {"cache-control", "content-length", "content-type"}
"""Headers that a browser shows to scripts of any origin."""


@pytest.mark.parametrize("path", [PATH, "/deepcall" + PATH])
def test_a_page_of_another_origin_reads_counters_and_headers(browser: Browser, worker: Worker, path: str) -> None:
    """The counters, the ETag and our headers, which it can send back as If-None-Match; of errors the text."""
    url = f"http://127.0.0.1:{worker.port}{path}"
    body = {"userId": worker.deployment.name, "token": TOKEN}
    with proxied(worker, None) as proxy, browser.new_context() as context:
        page = context.new_page()
        page.goto(proxy.url(SUBDOMAIN, "/"))

        def ask(asked: dict[str, str], **headers: str) -> dict[str, Any]:
            reply: dict[str, Any] = page.evaluate(ASK, [url, asked, headers])
            return reply

        first = ask(body)
        assert first["status"] == 200 and '"TC":0' in first["text"]
        ours = {name.lower() for name in EXPOSED_HEADERS} - {"x-ecounters-as-of"}  # no event was read yet
        assert ours <= set(first["headers"]) <= ours | READABLE_ANYWAY
        assert first["headers"]["cache-control"] == "no-store"
        again = ask(body, **{"If-None-Match": first["headers"]["etag"], "X-Requested-With": "XMLHttpRequest"})
        assert (again["status"], again["text"]) == (304, "")
        wrong = ask({**body, "token": "wrong"})
        assert wrong["status"] == 403 and "Permission denied" in wrong["text"]
        assert wrong["headers"]["cache-control"] == "no-store"
