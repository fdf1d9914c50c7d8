"""The cookie with the ssid of a dashboard's session.

    __Host-ecounters    where the connection is secure; browsers take this name only with Secure, Path=/ and no Domain
    ecounters           where it is not

So where the connection is secure, no other host can set the cookie, such as one of the same domain: it could make the
dashboard show another account. Only the name of the request's own kind of connection is read.
Under a path prefix, such as /a/b, ".a.b" is added to both names, so that two deployments at one host have two cookies.
The cookie's own path stays "/", which __Host- needs, and which is right whether a proxy takes the prefix off or not.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from ecounters.errors import INVALID_PARAMETER, RequestRefused

SECURE_NAME: Final = "__Host-ecounters"
PLAIN_NAME: Final = "ecounters"


class SessionCookie:
    """Reads the cookie of requests, and sets it in responses.

    ``proxies``: how many trusted reverse proxies each request passes. Without any, X-Forwarded-Proto is not believed.
    ``prefix``: the path prefix that the worker is served under, or "".
    """

    def __init__(self, proxies: int, prefix: str = "") -> None:
        self._proxies = proxies
        self._suffix = prefix.replace("/", ".")

    def ssid_of(self, request: web.Request) -> str:
        """The ssid in the request's cookie; "" without one. Bytes in it that are no text become "?".

        Raises RequestRefused (1000) if the cookie is there twice: one of the two may be a stranger's.
        """
        name = self._name(request)
        headers = [header for header in request.headers.getall(hdrs.COOKIE, []) if name in header]
        # Not by request.cookies, which keeps one of two with the same name. A browser sends one header.
        pairs = [pair.strip(" \t").partition("=") for header in headers[:2] for pair in header.split(";")]
        values = [value for found, _, value in pairs if found == name]
        if len(values) > 1:
            raise RequestRefused(
                INVALID_PARAMETER,
                f"the cookie {name} is there twice, and one may be another site's: delete this site's cookies",
            )
        return values[0].encode(errors="replace").decode() if values else ""

    def set(self, request: web.Request, response: web.Response, ssid: str, lasts_s: int) -> None:
        """Set the cookie for ``lasts_s`` seconds; 0 removes it.

        Scripts cannot read it, and requests from other sites do not carry it.
        """
        secure = self._is_secure(request)
        name = self._name(request)
        response.set_cookie(
            name, ssid, max_age=lasts_s, path="/", httponly=True, samesite="Strict", secure=secure or None
        )

    def _name(self, request: web.Request) -> str:
        return (SECURE_NAME if self._is_secure(request) else PLAIN_NAME) + self._suffix

    def _is_secure(self, request: web.Request) -> bool:
        """Whether the client's connection is TLS: to this worker, or by X-Forwarded-Proto to the first trusted proxy.

        Of several values, the one that this proxy added: as in ``client_address``. Most proxies send one value.
        """
        if request.secure or not self._proxies:
            return bool(request.secure)
        protocols = ",".join(request.headers.getall(hdrs.X_FORWARDED_PROTO, [])).split(",")
        return protocols[-min(self._proxies, len(protocols))].strip().lower() == "https"
