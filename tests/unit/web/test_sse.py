"""The bytes of Server-Sent Events and of the chunks that carry them."""

from __future__ import annotations

from streams.web.sse import Frame, sse_event, sse_retry
from streams.web.subject import version_of


def test_an_event_has_its_fields_one_a_line_and_ends_with_an_empty_line() -> None:
    """A name and an id only where they are given."""
    assert sse_event(b"{}") == b"data: {}\n\n"
    assert sse_event(b"{}", "status") == b"event: status\ndata: {}\n\n"
    assert sse_event(b"{}", version="v1") == b"id: v1\ndata: {}\n\n"
    assert sse_event(b"{}", "end", "v1") == b"event: end\nid: v1\ndata: {}\n\n"
    assert sse_retry(1_500) == b"retry: 1500\n\n"


def test_a_frame_is_the_bytes_and_one_chunk_of_them() -> None:
    """HTTP/1.0 gets them as they are, HTTP/1.1 with their length in hex."""
    content = b"x" * 26
    assert Frame.of(content) == (content, b"1a\r\n" + content + b"\r\n")


def test_a_version_is_the_etag_without_its_marks() -> None:
    """Weak or not, with quotes or without."""
    assert version_of('W/"1f-abc"') == version_of('"1f-abc"') == "1f-abc"
