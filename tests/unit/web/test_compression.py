"""Which coding a client gets for its Accept-Encoding."""

from __future__ import annotations

import pytest

from streams.web.compression import best_coding, is_matched


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


ETAG = 'W/"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk"'


@pytest.mark.parametrize(
    ("headers", "matched"),
    [
        ([ETAG], True),
        ([ETAG.removeprefix("W/")], True),
        (['W/"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk-gzip"'], True),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk-gzip"'], True),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk--gzip"'], True),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk;gzip"'], True),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk-br"'], True),
        ([f'"a,b" , {ETAG}'], True),
        (['"x"', ETAG], True),
        ([" * "], True),
        (['"x", *'], False),
        (['"*"'], False),
        ([], False),
        ([""], False),
        (["11a-HFF66YNcSs5WoIJy6+TSUnmUgDk"], False),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk'], False),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk-zip"'], False),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgD"'], False),
        (['"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk-gzip-gzip"'], False),
    ],
)
def test_an_etag_is_matched_also_as_proxies_mark_it(headers: list[str], matched: bool) -> None:
    """Strong or weak, in a list, with the mark of a coding; ``*`` alone is any."""
    assert is_matched(headers, ETAG) is matched
