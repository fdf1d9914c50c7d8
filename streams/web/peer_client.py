"""Requests to other workers: one HTTP client for all of them, signatures, and what comes of failures."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import aiohttp

from streams.basics.logs import REQUEST_ID
from streams.metrics.catalogue import Metrics
from streams.web.request_ids import ID_HEADER
from streams.web.signing import REQUEST_SIGNATURE, request_signature, signed_body

log = logging.getLogger(__name__)

HOP_LIMIT_S: Final = 2.0
"""A hop fails after this time. It is counted from the wait for a connection to the end of the reply."""
CONNECTIONS_MAX: Final = 100
"""A worker opens at most so many connections to each other worker. Further hops wait for one, within HOP_LIMIT_S."""
NOT_SIGNED: Final = 403
"""The signature is missing or wrong, the clocks of the two workers differ by too much, or this worker has no secret
yet."""


class PeerReply(NamedTuple):
    """A response of another worker, with the right signature."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PeerClient:
    """Sends signed requests to other workers, and believes signed responses alone.

    ``secret``: returns the workers' secret; "" until this worker has it. ``tls``: how the certificates of workers with
    https are checked; None: by the system's CAs. Counts failures in the metric of hops, by result. ``close`` it at the
    end.
    """

    def __init__(self, secret: Callable[[], str], metrics: Metrics, tls: ssl.SSLContext | None = None) -> None:
        self.secret = secret
        self._tls = tls
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._failing: set[str] = set()  # URLs of the workers of which a warning was logged since their last reply

    async def ask(self, url: str, path: str, content: bytes, limit_s: float = HOP_LIMIT_S) -> PeerReply | None:
        """The response of the worker at ``url`` to a POST of ``content``; None if there is none to be believed.

        None: this worker has no secret yet, or the other one cannot be reached, is too slow, does not accept the
        signature, or does not sign. Such a failure is counted, and logged once until the worker replies again.
        """
        secret = self.secret()
        if not secret:
            return None
        signature = request_signature(secret, content)
        headers = {REQUEST_SIGNATURE: signature, "Content-Type": "application/json", ID_HEADER: REQUEST_ID.get()}
        try:
            async with self._client().post(
                url + path, data=content, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit_s),
            ) as response:  # fmt: skip
                body = await signed_body(secret, signature, response)
        except (aiohttp.ClientError, OSError) as error:
            self.failed(url, "unreachable", f"gives no answer: {type(error).__name__}")
            return None
        if body is None and response.status == NOT_SIGNED:
            self.failed(url, "not_trusted", "does not trust this one: ECOUNTERS_SECRET or the clocks differ")
            return None
        if body is None:
            why = (
                f"answers HTTP {response.status} without the right signature: it is of another release, or none of ours"
            )
            self.failed(url, "not_ours", why)
            return None
        return PeerReply(response.status, response.headers, body)

    def succeeded(self, url: str, result: str) -> None:
        """Count a hop that gave a reply or a refusal. The next failure of the worker at ``url`` is logged again."""
        self._metrics.hops.labels(result).inc()
        self._failing.discard(url)

    def failed(self, url: str, result: str, why: str = "") -> None:
        """Count a hop that gave neither a reply nor a refusal.

        ``why`` is logged as a warning, unless one was logged since the worker's last success. "" is never logged.
        """
        self._metrics.hops.labels(result).inc()
        if why and url not in self._failing:
            self._failing.add(url)
            log.warning("the worker at %s %s", url, why)

    async def close(self) -> None:
        """Close the connections to other workers."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        """The HTTP client of all hops. The first hop makes it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_MAX, ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,  # a stranger's small reply could become gigabytes
            )
        return self._session
