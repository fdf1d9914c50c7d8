"""Why Kafka does not let a client in. aiokafka says only that it was "unable to bootstrap", and tries for ever.

``access_refused`` connects once to each configured address, and looks at how that fails::

    refused, so trying again does not help       how it shows
    user, password or token                      the log-in is answered with an error
    mechanism, or no log-in at all there         likewise
    certificate of the broker                    Python's ssl refuses it
    certificate of this client                   the broker ends the connection with an alert of TLS
    a TLS port spoken to without TLS             the connection ends; the port answers a TLS hello
    a plain port spoken to with TLS              the connection ends; the port answers a plain request
    a port of SASL without a log-in              the connection ends at the first request after ApiVersions
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from typing import Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from ecounters.errors import AccessRefused
from streams.basics.addresses import host_port
from streams.basics.text import one_line
from streams.kafka.clients import Kafka
from streams.settings.kafka_access import OAUTH

LIMIT_MS: Final = 5_000
"""How long connecting may take, and each reply."""
CONFIRM_S: Final = 1.0
"""A refusal counts if there is one again after so many s: a broker that is just ending cuts connections off too."""
_VERSIONS_REQUEST: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""A request of ApiVersions, with its length before it: version 0, correlation id 1, no client id."""
_REPLY_BEGIN: Final = slice(4, 8), struct.pack(">i", 1)
"""Where the reply has the correlation id, and which. A TLS server answers the request by an alert."""
_FAILED_LOG_IN: Final = (AuthenticationFailedError, SaslAuthenticationFailed)


async def access_refused(kafka: Kafka) -> AccessRefused | None:
    """Why Kafka will not let this client in, whatever time passes; None if a broker does, or none can be reached."""
    for host, port, _ in collect_hosts(kafka.brokers):
        try:
            if not await _why(kafka, host, port):
                return None
            await asyncio.sleep(CONFIRM_S)
            if why := await _why(kafka, host, port):
                return AccessRefused(f"Kafka at {host_port(host, port)} {why}")
        except (OSError, KafkaError):  # TimeoutError is an OSError
            pass
    return None


async def _why(kafka: Kafka, host: str, port: int) -> str:
    """Why one broker refuses; "" if it does not. Raises KafkaError or OSError if that cannot be told."""
    try:
        connection = await create_conn(
            host, port, client_id=kafka.client_id, request_timeout_ms=LIMIT_MS, **kafka.security()
        )
    except _FAILED_LOG_IN as error:
        return f"refuses the log-in{_of(kafka)}: {one_line(error)}; {_credentials(kafka)}"
    except UnsupportedSaslMechanismError:
        return f"does not offer ECOUNTERS_KAFKA_MECHANISM {kafka.mechanism}"
    except IllegalSaslStateError:
        return f"has no log-in by SASL on this port: ECOUNTERS_KAFKA_PROTOCOL {kafka.protocol} is wrong"
    except (OSError, KafkaError) as error:
        return await _why_cut_off(kafka, host, port, error)
    try:
        await connection.send(MetadataRequest([]))
    except KafkaError as error:
        if why := _tls_alert(kafka, error):
            return why
        if kafka.mechanism == OAUTH:
            return _refused_token(kafka)
        if not kafka.has_sasl:
            return f"wants a log-in by SASL on this port: ECOUNTERS_KAFKA_PROTOCOL {kafka.protocol} is wrong"
        raise
    finally:
        if (closed := connection.close()) is not None:
            await closed
    return ""


async def _why_cut_off(kafka: Kafka, host: str, port: int, error: BaseException) -> str:
    """Why a connection could not be made or ended early. Raises ``error`` if that cannot be told."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted: {error.verify_message}; ECOUNTERS_KAFKA_CA names the file of "
            "the authority that signed it, and ECOUNTERS_BROKER the host that the certificate is for"
        )
    if why := _tls_alert(kafka, error):
        return why
    with suppress(OSError):
        if kafka.has_tls and await _answers_plain(host, port):
            return f"speaks no TLS on this port: ECOUNTERS_KAFKA_PROTOCOL {kafka.protocol} is wrong"
        if not kafka.has_tls and await _answers_tls(host, port):
            return f"speaks TLS on this port: ECOUNTERS_KAFKA_PROTOCOL {kafka.protocol} is wrong"
    if kafka.mechanism == OAUTH and isinstance(error, KafkaConnectionError):
        return _refused_token(kafka)
    raise error


def _tls_alert(kafka: Kafka, error: BaseException) -> str:
    """What an alert of TLS says of this client's certificate; "" if ``error`` does not come of one."""
    alert = error if isinstance(error, ssl.SSLError) else error.__cause__
    if not isinstance(alert, ssl.SSLError) or "ALERT" not in (alert.reason or ""):
        return ""
    said = str(alert.reason).lower().replace("_", " ")
    if kafka.certificate:
        return f"refuses the certificate of ECOUNTERS_KAFKA_CERT {kafka.certificate}: {said}"
    return f"wants a certificate of this client: ECOUNTERS_KAFKA_CERT and ECOUNTERS_KAFKA_KEY name its files ({said})"


def _refused_token(kafka: Kafka) -> str:
    return f"refuses the token of ECOUNTERS_KAFKA_TOKEN_FILE {kafka.token_file}"


def _of(kafka: Kafka) -> str:
    return f" of {kafka.user} by {kafka.mechanism}" if kafka.user else f" by {kafka.mechanism}"


def _credentials(kafka: Kafka) -> str:
    """The variables that a refused log-in came from."""
    if kafka.mechanism == OAUTH:
        return f"the token is that of ECOUNTERS_KAFKA_TOKEN_FILE {kafka.token_file}"
    return "ECOUNTERS_KAFKA_USER or ECOUNTERS_KAFKA_PASSWORD is wrong"


async def _answers_plain(host: str, port: int) -> bool:
    """Whether a broker answers a request without TLS."""
    return await _answers(host, port, None, _VERSIONS_REQUEST)


async def _answers_tls(host: str, port: int) -> bool:
    """Whether a server speaks TLS; its certificate does not matter, because nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await _answers(host, port, context, b"")


async def _answers(host: str, port: int, context: ssl.SSLContext | None, request: bytes) -> bool:
    """Whether a connection can be made, and a request gets a reply. Raises OSError if the first fails without TLS."""
    writer: Any = None
    try:
        async with asyncio.timeout(LIMIT_MS / 1000):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.write(request)
            where, wanted = _REPLY_BEGIN
            return not request or (await reader.readexactly(where.stop))[where] == wanted
    except (ssl.SSLError, EOFError):
        return False
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
