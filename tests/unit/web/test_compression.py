"""Which coding is chosen."""

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
def test_the_better_one_of_those_that_are_liked_most(accepted: list[str], coding: str | None) -> None:
    """By weight, then br before gzip; as it is where that is liked more, or nothing else is taken."""
    assert best_coding(accepted) == coding
