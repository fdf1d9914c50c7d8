"""``run_to_end``: how a command runs its asynchronous work, and how failures of Kafka and Redis are reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from aiokafka.conn import collect_hosts
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from ecounters.errors import AccessRefused, Stop
from streams.basics.addresses import is_this_machine
from streams.basics.collector import collect_seldom
from streams.basics.text import NO_CONNECTION, one_line, why_failed
from streams.kafka.clients import Kafka
from streams.kafka.refusals import access_refused
from streams.kafka.rights import TOPIC, missing_right
from streams.settings.table import Settings, masked

T = TypeVar("T")

LOCAL_HINT: Final = "does it run? Beside `ecounters run`, paste the export line that it has printed at its last start"
"""`ecounters run` chooses free ports for its broker and store, which are not those of the defaults."""


def run_to_end(settings: Settings, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own and return its result.

    A KafkaError or RedisError of ``work`` is raised as Stop, with one line that names the server's address; as
    AccessRefused if Kafka does not let this process in, or does not allow what it must do. Silences
    aiokafka's log in this process from now on: its lines about an unreachable broker would precede the line of Stop.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    collect_seldom()  # `ecounters state` and the audit hold millions of objects
    try:
        return asyncio.run(work)
    except TopicAuthorizationFailedError as error:
        raise missing_right("Describe", TOPIC, one_line(error)) from error
    except KafkaError as error:
        if refused := asyncio.run(access_refused(Kafka.of(settings))):
            raise refused from error
        hosts = [host for host, _, _ in collect_hosts(Kafka.of(settings).brokers)]
        raise Stop(f"Kafka at {settings.broker}: {_failure(error, hosts)}") from error
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        raise AccessRefused(f"Redis at {masked(settings.redis)}: {one_line(error)}") from error
    except RedisError as error:
        hosts = [urlsplit(settings.redis).hostname or ""]
        raise Stop(f"Redis at {masked(settings.redis)}: {_failure(error, hosts)}") from error


def _failure(error: BaseException, hosts: Iterable[str]) -> str:
    """Why a server fails; with LOCAL_HINT if it should be on this machine, where no connection can be made."""
    why = why_failed(error)
    is_away = why.startswith(NO_CONNECTION) and any(map(is_this_machine, hosts))
    return f"{why}: {LOCAL_HINT}" if is_away else why
