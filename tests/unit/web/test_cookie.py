"""Under which name the dashboard's cookie is read and set."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from ecounters.errors import RequestRefused
from streams.web.cookie import SessionCookie

HTTPS = ("X-Forwarded-Proto", "https")


def request(*headers: tuple[str, str], scheme: str = "http") -> web.Request:
    """A request with these headers, by http or https."""
    return make_mocked_request("GET", "/", headers=CIMultiDict(headers)).clone(scheme=scheme)


def cookie(*texts: str) -> list[tuple[str, str]]:
    """Cookie headers."""
    return [("Cookie", text) for text in texts]


@pytest.mark.parametrize(
    ("proxies", "scheme", "headers", "secure"),
    [
        (0, "http", [], False),
        (0, "https", [], True),
        (0, "http", [HTTPS], False),
        (1, "http", [HTTPS], True),
        (1, "http", [], False),
        (1, "http", [("X-Forwarded-Proto", "http")], False),
        (1, "http", [("X-Forwarded-Proto", "https, http")], False),
        (2, "http", [("X-Forwarded-Proto", "https, http")], True),
        (1, "http", [("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", " HTTPS ")], True),
        (2, "http", [HTTPS], True),
        (1, "https", [("X-Forwarded-Proto", "http")], True),
    ],
)
def test_the_name_goes_by_the_clients_connection(
    proxies: int, scheme: str, headers: list[tuple[str, str]], secure: bool
) -> None:
    """TLS to the worker, or to the first trusted proxy by X-Forwarded-Proto; the other name is not read."""
    both = cookie("ecounters=plain; __Host-ecounters=secure")
    session_cookie, response = SessionCookie(proxies), web.Response()
    assert session_cookie.ssid_of(request(*both, *headers, scheme=scheme)) == ("secure" if secure else "plain")
    session_cookie.set(request(*headers, scheme=scheme), response, "s", 60)
    (name,) = response.cookies
    parts = response.cookies[name].OutputString().split("; ")
    assert name == ("__Host-ecounters" if secure else "ecounters")
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=60"} <= set(parts)
    assert ("Secure" in parts) is secure and not any(part.startswith("Domain") for part in parts)


@pytest.mark.parametrize(("scheme", "name"), [("http", "ecounters.a.b"), ("https", "__Host-ecounters.a.b")])
def test_each_path_prefix_has_a_cookie_of_its_own(scheme: str, name: str) -> None:
    """So that two deployments at one host do not log one another's users out."""
    session_cookie, response = SessionCookie(0, "/a/b"), web.Response()
    asked = request(*cookie(f"ecounters=other; __Host-ecounters=other; {name}=ours"), scheme=scheme)
    assert session_cookie.ssid_of(asked) == "ours"
    session_cookie.set(asked, response, "s", 60)
    assert list(response.cookies) == [name] and response.cookies[name]["path"] == "/"


@pytest.mark.parametrize(
    ("texts", "ssid"),
    [
        ([], ""),
        (["a=b"], ""),
        (["ecounters=s"], "s"),
        (["a=b; ecounters=s; c=d"], "s"),
        (["a=b", "ecounters=s"], "s"),
        (["ecounters=s=t"], "s=t"),
        (["ecounters="], ""),
        (["ecounters"], ""),
        (["Ecounters=s"], ""),
        (["\u2003ecounters=s"], ""),
        (["not-ecounters=s"], ""),
        (['a="; ecounters=s; b="'], "s"),
    ],
)
def test_the_cookie_is_found_among_others(texts: list[str], ssid: str) -> None:
    """By its exact name; quotes mean nothing, as for browsers."""
    assert SessionCookie(0).ssid_of(request(*cookie(*texts))) == ssid


@pytest.mark.parametrize(
    "texts",
    [
        ["ecounters=a; ecounters=b"],
        ["ecounters=a; ecounters=a"],
        ["ecounters=a;ecounters="],
        ["ecounters=a; x=y", "ecounters=b"],
        ["ecounters=a"] * 100,
    ],
)
def test_two_cookies_of_the_name_are_refused(texts: list[str]) -> None:
    """Also equal ones, and in two headers."""
    with pytest.raises(RequestRefused, match="the cookie ecounters is there twice") as caught:
        SessionCookie(0).ssid_of(request(*cookie(*texts)))
    assert (caught.value.code, caught.value.http_status) == (1000, 400)
