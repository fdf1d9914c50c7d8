"""The URL of a Redis behind Sentinel, and of one with TLS."""

from __future__ import annotations

import pytest

from ecounters.errors import SettingsError
from streams.settings.load import load
from streams.settings.redis_urls import SentinelUrl, sentinel_url
from streams.settings.table import masked

FULL = "rediss+sentinel://me:p%2Fw@s1:1,[::1]:2,s3/users/4?sentinel_user=s&sentinel_password=sp"


def test_each_part_is_read() -> None:
    """Hosts with and without a port, an IPv6 address, a password with a slash, credentials of the sentinels."""
    hosts = [("s1", 1), ("::1", 2), ("s3", 26_379)]
    assert sentinel_url(FULL) == SentinelUrl(hosts, "users", 4, "me", "p/w", True, "s", "sp")
    plain = SentinelUrl([("s1", 26_379)], "users", 0, "", "", False, "", "")
    assert sentinel_url("redis+sentinel://s1/users") == plain
    assert masked(FULL) == "rediss+sentinel://***@s1:1,[::1]:2,s3/users/4"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://s1:1",
        "redis+sentinel://s1:1/",
        "redis+sentinel://s1:1/users/x",
        "redis+sentinel://s1:0/users",
        "redis+sentinel://s1:1,/users",
        "redis+sentinel://me:secret-word@/users",
        "redis+sentinel://s1:1/users?password=secret-word",
    ],
)
def test_what_is_no_such_url_is_refused(url: str) -> None:
    """In one line that shows the form, and never the URL: it may hold a password."""
    with pytest.raises(SettingsError, match=r"must be .*redis\+sentinel://\[user:password@\]") as caught:
        load({"ECOUNTERS_REDIS": url})
    assert "secret-word" not in str(caught.value)


def test_an_authority_needs_tls_and_a_file_that_can_be_read() -> None:
    """A CA for a URL without TLS would be passed over."""
    with pytest.raises(SettingsError, match=r"ECOUNTERS_REDIS_CA is set, and ECOUNTERS_REDIS redis://h:1/0 is without"):
        load({"ECOUNTERS_REDIS_CA": "ca.pem", "ECOUNTERS_REDIS": "redis://h:1/0"})
    with pytest.raises(SettingsError, match=r"ECOUNTERS_REDIS_CA is wrong: /nowhere/ca.pem cannot be read"):
        load({"ECOUNTERS_REDIS_CA": "/nowhere/ca.pem", "ECOUNTERS_REDIS": "rediss://h:1/0"})
