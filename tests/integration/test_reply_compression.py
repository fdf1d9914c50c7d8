"""HTTP replies are compressed where the client asks for it."""

from __future__ import annotations

import gzip

import brotli

from tests.support.accounts import TOKEN, add_users
from tests.support.builders import ALL_FIELDS
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.replies import CREDENTIALS
from tests.support.workers import Deployment, Worker


def test_a_large_reply_is_compressed_where_the_client_accepts_it(deployment: Deployment, worker: Worker) -> None:
    """gzip and br unpack to the plain bytes under the same ETag; a small reply is never compressed."""
    calls = [
        RecentCall(f"c{at}", "u1").started(0, "IBD", did=f"1555{at:04}").ringing(1).answered(2) for at in range(200)
    ]
    publish_values(deployment, "u1", *(value for call in calls for value in call.values()))
    body = {**CREDENTIALS, "Field": list(ALL_FIELDS)}
    plain = wait_for_counter(worker, "u1", "CNC", 200)
    plain = worker.ask(body)
    assert len(plain.body) > 4_000
    assert (plain.headers["Vary"], plain.headers.get("Content-Encoding")) == ("Origin, Accept-Encoding", None)
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress}
    for asked, coding in (("gzip", "gzip"), ("br", "br"), ("gzip, deflate, br", "br"), ("br;q=0, *;q=0.5", "gzip")):
        for _ in range(2):  # the second reply is from the cache
            packed = worker.ask(body, {"Accept-Encoding": asked})
            assert (packed.status, packed.headers["Content-Encoding"]) == (200, coding)
            assert unpack[coding](packed.body) == plain.body
            assert len(packed.body) < len(plain.body) / 2
            assert {**packed.headers, "Date": ""}.keys() == {**plain.headers, "Content-Encoding": coding}.keys()
            assert (packed.headers["ETag"], packed.headers["Vary"]) == (plain.headers["ETag"], plain.headers["Vary"])
    again = worker.ask(body, {"Accept-Encoding": "br", "If-None-Match": plain.headers["ETag"]})
    assert (again.status, again.body, again.headers["Vary"]) == (304, b"", "Origin, Accept-Encoding")
    add_users(deployment, ["u2"])
    small = worker.ask({"userId": "u2", "token": TOKEN}, {"Accept-Encoding": "br"})
    assert (small.status, small.headers["Vary"], small.headers.get("Content-Encoding")) == (200, "Origin", None)
