"""Which coding a client gets for its Accept-Encoding."""

from __future__ import annotations

import pytest

from streams.web.compression import best_coding


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ([], None),
        ([""], None),
        (["identity"], None),
        (["deflate, zstd"], None),
        (["gzip"], "gzip"),
        (["br"], "br"),
        (["GZIP"], "gzip"),
        (["gzip, deflate, br"], "br"),
        (["gzip", "br"], "br"),
        (["gzip;q=1.0, br;q=0.5"], "gzip"),
        (["*"], "br"),
        (["br;q=0, *"], "gzip"),
        (["gzip;q=0"], None),
        (["gzip;q=0.5, identity"], None),
        (["gzip;q=nan, br; q = 0.1"], "br"),
        (["gzip;q=2"], None),
        (["gzip;level=9"], None),
    ],
)
def test_the_coding_with_the_largest_weight_is_used(accepted: list[str], coding: str | None) -> None:
    """By weight, then br before gzip; none where identity weighs more, or no known coding is accepted."""
    assert best_coding(accepted) == coding
