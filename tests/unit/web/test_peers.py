"""What is read of another worker's response."""

from __future__ import annotations

import pytest

from ecounters.errors import RequestRefused
from streams.web.peers import _refusal
from streams.web.responses import error_body


@pytest.mark.parametrize(
    "refused",
    [
        RequestRefused(1000, "filter: the dates have no time in common"),
        RequestRefused(1001),
        RequestRefused(1032, "these counters are being moved", http_status=503),
    ],
)
def test_a_refusal_arrives_as_it_was(refused: RequestRefused) -> None:
    """Code, detail and status of another worker's refusal."""
    passed_on = _refusal(refused.http_status, error_body(refused))
    assert passed_on is not None
    assert (passed_on.code, passed_on.detail, passed_on.http_status) == (
        refused.code, refused.detail, refused.http_status,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html>"),
        (400, b"[]"),
        (400, b'{"code":1000}'),
        (400, b'{"code":77,"message":"x"}'),
        (404, b'{"status":"error","message":"there is nothing at this path","code":1000}'),
    ],
)
def test_what_is_no_refusal_of_this_release_is_none(status: int, body: bytes) -> None:
    """Other bodies, unknown codes, and a 404 of a worker that has no such path."""
    assert _refusal(status, body) is None
