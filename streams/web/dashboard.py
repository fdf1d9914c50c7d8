"""The dashboard: its page, the page's files, and log-in and log-out, which keep a session's ssid in a cookie.

The page reads the counters from the push (GET …/stream, which takes the cookie) and from POST /dashboard/series.
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
from streams.web.compression import is_matched
from streams.web.cookie import SessionCookie
from streams.web.paths import DASHBOARD_PATH
from streams.web.responder import Authorize, Respond
from streams.web.responses import body_of, json_response

log = logging.getLogger(__name__)

SESSION_S: Final = 30 * 86_400
"""How long a log-in lasts, 30 days: a screen on a wall has nobody who logs in every morning."""
CACHED_FOREVER: Final = "public, max-age=31536000, immutable"
"""Cache-Control of files whose path changes with their content."""
CACHED_IF_UNCHANGED: Final = "no-cache"
"""Cache-Control of the page: the browser must check each time whether its copy is still good."""

HEADERS: Final = {
    # The page loads files of this worker only. No inline script or style, no eval, no frames.
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

CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CHARTS: Final = "Chart.bundle.js"
"""Chart.js, a file of the package chartkick."""


@dataclass(frozen=True, slots=True)
class File:
    """A file in memory, ready to be sent. ``zipped``: the content by gzip. ``etag``: a hash of the content."""

    content: bytes
    zipped: bytes
    etag: str
    headers: dict[str, str]

    @classmethod
    def of(cls, name: str, content: bytes, cache_control: str) -> File:
        """A file with this content. The ending of ``name`` gives the Content-Type."""
        headers = {
            "Content-Type": CONTENT_TYPES["." + name.rpartition(".")[2]],
            "Cache-Control": cache_control,
            **HEADERS,
        }
        zipped = gzip.compress(content, mtime=0)
        return cls(content, zipped, f'"{hashlib.sha256(content).hexdigest()[:16]}"', headers)

    def response(self, request: web.Request) -> web.Response:
        """The response to ``request``: 304 if the client has the file, else the file, by gzip if the client can."""
        headers = {**self.headers, "ETag": self.etag, "Vary": "Accept-Encoding"}
        if is_matched(request.headers.getall(hdrs.IF_NONE_MATCH, []), self.etag):
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
            return web.Response(body=self.zipped, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=self.content, headers=headers)


class Dashboard:
    """The page /dashboard and the routes below it. The page's files are read into memory at the start.

    The POST routes (log-in, log-out, series) check that the request comes from the dashboard's own page, and refuse
    other requests with 403 or 415 (see ``_own_body``).
    """

    def __init__(
        self, authorize: Authorize, respond: Respond, sessions: Sessions, accounts: Accounts, cookie: SessionCookie
    ) -> None:
        self._authorize = authorize
        self._respond = respond
        self._sessions = sessions
        self._accounts = accounts
        self._cookie = cookie
        self._page, self._files = _load()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get(DASHBOARD_PATH, self.page)
        router.add_get(f"{DASHBOARD_PATH}/", self.redirect)
        router.add_get(f"{DASHBOARD_PATH}/files/{{version}}/{{name}}", self.file)
        router.add_get(f"{DASHBOARD_PATH}/session", self.session)
        router.add_post(f"{DASHBOARD_PATH}/login", self.login)
        router.add_post(f"{DASHBOARD_PATH}/logout", self.logout)
        router.add_post(f"{DASHBOARD_PATH}/series", self.series)

    async def page(self, request: web.Request) -> web.Response:
        """GET /dashboard: the page. It is the same for everybody and holds no counters."""
        return self._page.response(request)

    async def redirect(self, request: web.Request) -> web.Response:
        """GET /dashboard/: to the page. The page's addresses are relative to its path, as is that of the page here.

        So they lead to this worker under any path prefix, also where a proxy takes the prefix off.
        """
        return web.Response(status=308, headers={"Location": "../dashboard", "Cache-Control": CACHED_IF_UNCHANGED})

    async def file(self, request: web.Request) -> web.Response:
        """GET /dashboard/files/<version>/<name>: a file of the page. Raises HTTPNotFound for another version."""
        file = self._files.get(request.match_info["version"] + "/" + request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return file.response(request)

    async def session(self, request: web.Request) -> web.Response:
        """GET /dashboard/session: user and time zone of the cookie's session; null if there is no valid session.

        Raises RequestRefused if the user cannot be known: 1010 if Redis cannot be reached, 429 after too many wrong
        credentials.
        """
        try:
            return _account_response(await self._authorize(request, Query(ssid=self._ssid_of(request))))
        except RequestRefused as refused:
            if refused.http_status != API_ERRORS[DENIED].http_status:
                raise
            return _account_response(None)

    async def login(self, request: web.Request) -> web.Response:
        """POST /dashboard/login: open a session with userId and token, and set the cookie to its ssid.

        Closes the session that the cookie held. If the new session ends before the response, the response is the
        same, and the next request is refused. Raises RequestRefused: 1002 without userId and token, 1010 if Redis
        cannot be reached, and as ``_own_body`` and ``Responder.authorize``.
        """
        query = read_request(await _own_body(request))
        if query.ssid or query.token is None:
            raise RequestRefused(NO_USER, "give userId and token")
        account = await self._authorize(request, query)
        await self._close_session(request)
        try:
            ssid = await self._accounts.open_session(account.user_id, SESSION_S)
        except (RedisError, OSError) as error:
            raise _no_store(error) from error
        except Stop as stop:  # the user was removed after authorize
            raise RequestRefused(DENIED) from stop
        # Puts the new ssid into the cache of Sessions, past the throttle. Credentials that are not in the cache are
        # throttled while somebody else guesses from the same address.
        try:
            account = await self._sessions.authorize(Query(ssid=ssid))
        except RequestRefused as refused:
            if refused.code != DENIED:
                raise
            # The session is over already: the user has opened as many others since, was removed, or was denied the
            # counters. The token was right all the same, and the next request is refused.
            log.debug("a session was over before its log-in was answered")
        response = _account_response(account)
        self._cookie.set(request, response, ssid, SESSION_S)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """POST /dashboard/logout: close the cookie's session, if there is one, and remove the cookie.

        Raises RequestRefused: 1010 if Redis cannot be reached, and as ``_own_body``.
        """
        await _own_body(request)
        await self._close_session(request)
        response = json_response(b'{"status":"success"}', HEADERS)
        self._cookie.set(request, response, "", 0)
        return response

    def _ssid_of(self, request: web.Request) -> str:
        """The ssid in the cookie. Raises RequestRefused (1015) without one, and as ``SessionCookie.ssid_of``."""
        ssid = self._cookie.ssid_of(request)
        if not ssid:
            raise RequestRefused(DENIED)
        return ssid

    async def _close_session(self, request: web.Request) -> None:
        """Delete the cookie's session in Redis. It is no error if there is no such session or no cookie.

        Raises RequestRefused (1010) if Redis cannot be reached, also without a cookie.
        """
        try:
            await self._accounts.close_session(self._cookie.ssid_of(request))
        except (RedisError, OSError) as error:
            raise _no_store(error) from error
        except Stop:
            log.debug("a session was over before it was to be closed")

    async def series(self, request: web.Request) -> web.Response:
        """POST /dashboard/series: the same as POST …/series, but with the cookie's ssid.

        Raises RequestRefused: 1015 without a cookie, and as ``_own_body``, ``read_request`` and ``Responder.respond``.
        """
        parameters = await _own_body(request)
        response = await self._respond(
            request, read_request({**parameters, "ssid": self._ssid_of(request)}, series=True)
        )
        response.headers.update(HEADERS)
        return response


def _load() -> tuple[File, dict[str, File]]:
    """The page, and its files by "<version>/<name>". The version is a hash of all files; the page links to it."""
    pages = files("streams.web").joinpath("pages")
    paths = [path for path in pages.iterdir() if path.name.endswith((".css", ".js", ".svg"))]
    paths.append(files("chartkick").joinpath("django", "static", "chartkick", CHARTS))
    contents = {path.name: path.read_bytes() for path in sorted(paths, key=_name)}
    version = hashlib.sha256(repr(contents).encode()).hexdigest()[:12]
    page = pages.joinpath("dashboard.html").read_bytes().replace(b"/files/", b"/files/" + version.encode() + b"/")
    by_path = {f"{version}/{name}": File.of(name, content, CACHED_FOREVER) for name, content in contents.items()}
    return File.of("dashboard.html", page, CACHED_IF_UNCHANGED), by_path


def _name(path: Traversable) -> str:
    return path.name


def _host_of(origin: str) -> str:
    """Host and port of an Origin header; "" if it is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


async def _own_body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body of a request from the dashboard's own page.

    Raises RequestRefused: 403 for a page of another origin, by Sec-Fetch-Site, or by Origin if there is no
    Sec-Fetch-Site; 415 for another Content-Type, because a form of another site can send text but not JSON; and as
    ``body_of`` and ``parse_object``.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get(hdrs.ORIGIN)
    is_foreign = origin is not None and _host_of(origin) != request.host
    if site not in (None, "same-origin") or (site is None and is_foreign):
        raise RequestRefused(DENIED, "this is for the dashboard's own page", http_status=403)
    if request.content_type != "application/json":
        raise RequestRefused(INVALID_PARAMETER, "the Content-Type must be application/json", http_status=415)
    return parse_object(await body_of(request))


def _account_response(account: Account | None) -> web.Response:
    """A response that says who is logged in: userId and zone, or null."""
    user = None if account is None else {"userId": account.user_id, "zone": account.zone.key}
    content = orjson.dumps({"message": user, "status": "success"})
    return json_response(content, {**HEADERS, "Cache-Control": "no-store"})


def _no_store(error: Exception) -> RequestRefused:
    """Log an error of Redis, and return the refusal to raise for it."""
    log.warning("a session could not be changed: %s", type(error).__name__)
    return RequestRefused(NO_STORE, "the session store cannot be reached; try again shortly")
