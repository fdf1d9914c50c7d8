"""The dashboard: its page and files, and the log-in that makes a session and keeps it in a cookie.

The page shows what the stream tells and what a series holds; the cookie's value is an ssid, which both take.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web
from redis.exceptions import RedisError

from ecounters.errors import API_ERRORS, DENIED, INVALID_PARAMETER, NO_STORE, NO_USER, RequestRefused, Stop
from ecounters.query.request import Query, parse_object, read_request
from streams.access.accounts import Accounts
from streams.access.sessions import Account, Sessions
from streams.web.paths import DASHBOARD_PATH
from streams.web.responder import Authorize, Respond
from streams.web.responses import body_of, json_response
from streams.web.url_query import COOKIE

log = logging.getLogger(__name__)

SESSION_S: Final = 30 * 86_400
"""How long a log-in lasts: a screen on a wall has nobody who logs in every morning."""
FOREVER: Final = "public, max-age=31536000, immutable"

HEADERS: Final = {
    # Everything is of this origin and in files of its own; nothing inline, nothing evaluated, no frames.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CHARTS: Final = "Chart.bundle.js"
"""Chart.js, which the package chartkick carries."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent, with its name for caches."""

    content: bytes
    packed: bytes
    etag: str
    headers: dict[str, str]

    @classmethod
    def of(cls, name: str, content: bytes, cached: str) -> File:
        """A file by its name's ending."""
        headers = {"Content-Type": TYPES["." + name.rpartition(".")[2]], "Cache-Control": cached, **HEADERS}
        packed = gzip.compress(content, mtime=0)
        return cls(content, packed, f'"{hashlib.sha256(content).hexdigest()[:16]}"', headers)

    def response(self, request: web.Request) -> web.Response:
        """The file, packed if it may be, or that it is the one that the client has."""
        headers = {**self.headers, "ETag": self.etag, "Vary": "Accept-Encoding"}
        if self.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
            return web.Response(body=self.packed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=self.content, headers=headers)


class Dashboard:
    """The routes under /dashboard. ``authorize`` and ``respond`` are those of the API."""

    def __init__(
        self,
        authorize: Authorize,
        respond: Respond,
        sessions: Sessions,
        accounts: Accounts,
    ) -> None:
        self._authorize = authorize
        self._respond = respond
        self._sessions = sessions
        self._accounts = accounts
        self._page, self._files = _load()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Its routes."""
        router.add_get(DASHBOARD_PATH, self.page)
        router.add_get(f"{DASHBOARD_PATH}/", self.page)
        router.add_get(f"{DASHBOARD_PATH}/files/{{version}}/{{name}}", self.file)
        router.add_get(f"{DASHBOARD_PATH}/session", self.session)
        router.add_post(f"{DASHBOARD_PATH}/login", self.login)
        router.add_post(f"{DASHBOARD_PATH}/logout", self.logout)
        router.add_post(f"{DASHBOARD_PATH}/series", self.series)

    async def page(self, request: web.Request) -> web.Response:
        """GET /dashboard: the page, which has nothing in it that is anybody's."""
        return self._page.response(request)

    async def file(self, request: web.Request) -> web.Response:
        """GET /dashboard/files/…: what the page is made of; a version's files never change."""
        found = self._files.get(request.match_info["version"] + "/" + request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return found.response(request)

    async def session(self, request: web.Request) -> web.Response:
        """GET /dashboard/session: who is logged in, and the time zone of this user's days; null if nobody is."""
        try:
            return _about(await self._authorize(request, Query(ssid=_cookie(request))))
        except RequestRefused as refused:
            if refused.http_status != API_ERRORS[DENIED].http_status:
                raise
            return _about(None)

    async def login(self, request: web.Request) -> web.Response:
        """POST /dashboard/login: userId and token, for a session in a cookie."""
        asked = read_request(await _form(request))
        if asked.ssid or asked.token is None:
            raise RequestRefused(NO_USER, "give userId and token")
        account = await self._authorize(request, asked)
        await self._close(request)
        try:
            ssid = await self._accounts.open_session(account.user_id, SESSION_S)
        except (RedisError, OSError) as error:
            raise _away(error) from error
        except Stop as stop:  # removed since
            raise RequestRefused(DENIED) from stop
        # Known as good, or the throttle would keep it out while others guess from the same address.
        response = _about(await self._sessions.authorize(Query(ssid=ssid)))
        _set_cookie(request, response, ssid, SESSION_S)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """POST /dashboard/logout: the session is over."""
        await _form(request)
        await self._close(request)
        response = json_response(b'{"status":"success"}', HEADERS)
        _set_cookie(request, response, "", 0)
        return response

    async def _close(self, request: web.Request) -> None:
        """End the session in the cookie, if there is one."""
        try:
            await self._accounts.close_session(request.cookies.get(COOKIE, ""))
        except (RedisError, OSError) as error:
            raise _away(error) from error
        except Stop:
            log.debug("a session was over before it was to be closed")

    async def series(self, request: web.Request) -> web.Response:
        """POST /dashboard/series: as …/series, for the session in the cookie."""
        given = await _form(request)
        response = await self._respond(request, read_request({**given, "ssid": _cookie(request)}, series=True))
        response.headers.update(HEADERS)
        return response


def _load() -> tuple[File, dict[str, File]]:
    """The page, and its files by ``version/name``: the version is made of all of them."""
    pages = files("streams.web").joinpath("pages")
    found = [one for one in pages.iterdir() if one.name.endswith((".css", ".js", ".svg"))]
    found.append(files("chartkick").joinpath("django", "static", "chartkick", CHARTS))
    contents = {one.name: one.read_bytes() for one in sorted(found, key=_name)}
    digest = hashlib.sha256(repr(contents).encode()).hexdigest()[:12]
    page = pages.joinpath("dashboard.html").read_bytes().replace(b"/files/", b"/files/" + digest.encode() + b"/")
    named = {f"{digest}/{name}": File.of(name, content, FOREVER) for name, content in contents.items()}
    return File.of("dashboard.html", page, "no-cache"), named


def _name(one: Traversable) -> str:
    return one.name


def _cookie(request: web.Request) -> str:
    ssid = request.cookies.get(COOKIE, "")
    if not ssid:
        raise RequestRefused(DENIED)
    return ssid


def _host_of(origin: str) -> str:
    """Its host and port; "" if it is no origin."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


async def _form(request: web.Request) -> dict[str, Any]:
    """What the page sends, and no other site: a browser says where a request comes from, and JSON is no form's."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get(hdrs.ORIGIN)
    foreign = origin is not None and _host_of(origin) != request.host
    if site not in (None, "same-origin") or (site is None and foreign):
        raise RequestRefused(DENIED, "this is for the dashboard's own page", http_status=403)
    if request.content_type != "application/json":
        raise RequestRefused(INVALID_PARAMETER, "the Content-Type must be application/json", http_status=415)
    return parse_object(await body_of(request))


def _about(account: Account | None) -> web.Response:
    told = None if account is None else {"userId": account.user_id, "zone": account.zone.key}
    content = orjson.dumps({"message": told, "status": "success"})
    return json_response(content, {**HEADERS, "Cache-Control": "no-store"})


def _set_cookie(request: web.Request, response: web.Response, ssid: str, lasts_s: int) -> None:
    """For scripts and other sites out of reach; only over TLS, if that is how the page came (a proxy says so)."""
    secure = request.secure or request.headers.get("X-Forwarded-Proto", "") == "https"
    response.set_cookie(
        COOKIE, ssid, max_age=lasts_s, path="/", httponly=True, samesite="Strict", secure=secure or None
    )


def _away(error: Exception) -> RequestRefused:
    log.warning("a session could not be changed: %s", type(error).__name__)
    return RequestRefused(NO_STORE, "the session store cannot be reached; try again shortly")
