"""The log of a worker: one entry a line, as text or JSON, with times in UTC.

    2026-03-01T09:00:00.123Z WARNING streams.access.look_ups: Redis cannot be used, log-ins stop [request 4f1c…]

What a library repeats is dropped, an exception is logged once and on the line of its entry, and what could be a
telephone number in a library's words is masked.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextvars import Context, ContextVar
from pathlib import PurePath
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from streams.basics.times import utc_text

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The id of the HTTP request that is handled now; "" outside of requests. Each entry of a request has it."""
LOG_REPEAT_S: Final = 30.0
"""A library's message is logged once in this time at most."""
FRAMES_MAX: Final = 12
"""So many calls of a traceback are in an entry, the innermost ones."""
CAUSES_MAX: Final = 4
"""So many exceptions that led to an exception are named with it."""
MESSAGE_MAX: Final = 2_000
"""Characters of an exception's message that are logged."""
_NUMBER: Final = re.compile(r"(?:(?<=['\"+:])|(?<=['\"]: ))\+?[0-9]{7,}")
"""What may be a telephone number: seven digits or more behind a quote, a colon, a plus, or the name of a field in JSON.
Offsets and times in messages of Kafka's clients stand behind blanks and equals signs."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a terminal that shows the log would obey."""
_RAISED_TOO: Final = {"aiokafka.consumer.group_coordinator": "OffsetCommit failed for group %s due to group error"}
"""Logger -> the beginning of messages that are dropped: aiokafka raises CommitFailedError of the same error, and
``streams.kafka.consumer_thread`` logs both. Each planned move of a partition would look like a fault. Other errors of a
commit may be retried for ever, and raise nothing."""
_LOGGED: Final = "_ecounters_logged"
"""The attribute of an exception that has been logged."""


def set_up(level: str, form: str, instance: str) -> None:
    """Let all loggers of this process write to stderr.

    ``form``: "text" or "json". ``instance``: which worker this is; each entry in JSON says so.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine(instance) if form == "json" else TextLine())
    handler.addFilter(RateLimitedLog())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # At DEBUG aiokafka logs the bytes that it sends: the group's secret and the changelog are among them.
    logging.getLogger("aiokafka").setLevel(max(logging.INFO, logging.getLogger().level))


def log_facts(log: logging.Logger, message: str, facts: Mapping[str, object]) -> None:
    """Log a message at INFO with facts, which text has as ``name=value`` and JSON as fields of their own."""
    text = " ".join(f"{name}={value}" for name, value in facts.items())
    log.info("%s: %s", message, text, extra={"facts": dict(facts)})


class LifeLines:
    """The first and the last entry of a worker: what it is, what it is bound to, how long it ran and how it ended.

    ``facts``: name -> value, the same in both.
    """

    def __init__(self, log: logging.Logger, facts: Mapping[str, object]) -> None:
        self._log = log
        self._facts = facts
        self._began = time.monotonic()

    def started(self, address: str) -> None:
        """Log that the worker serves at ``address``."""
        log_facts(self._log, "started", {**self._facts, "serving": address})

    def ended(self, exit_code: int, reason: BaseException | None) -> None:
        """Log the end. ``reason``: the error that ended the worker; None if it was told to stop."""
        ran_s = round(time.monotonic() - self._began, 1)
        why = "told to stop" if reason is None else _told(reason)
        log_facts(self._log, "ended", {**self._facts, "ran_s": ran_s, "exit_code": exit_code, "reason": why})


def without_request() -> Context:
    """A context for tasks that outlive the request which starts them, or work for many: they have no request id."""
    return Context()


# ------------------------------------------------------------------------------------------------------ what is logged


class RateLimitedLog(logging.Filter):
    """Drops a library's message if the same one was logged within LOG_REPEAT_S, or if its exception is logged anyway.

    While a broker is away, the libraries log 600 lines a minute. Two messages are the same if logger and format string
    are equal. Messages of libraries below WARNING also need the level DEBUG. Messages of this project always pass.
    One failure passes through several services of Faust, each of which logs it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record. Notes the time of a library's record that passes, and marks its exception."""
        error = _exception_of(record)
        if not _is_of_library(record):
            _mark(error)
            return True
        if record.levelno < logging.WARNING and not logging.getLogger().isEnabledFor(logging.DEBUG):
            return False
        if record.name in _RAISED_TOO and str(record.msg).startswith(_RAISED_TOO[record.name]):
            return False
        key = record.name, str(record.msg)
        if hasattr(error, _LOGGED) or record.created < self._next.get(key, 0.0):
            return False
        self._next[key] = record.created + LOG_REPEAT_S
        _mark(error)
        return True


def _is_of_library(record: logging.LogRecord) -> bool:
    """Whether a library has logged this.

    Faust's services log under this project's names where this project subclasses them; these messages begin with "[".
    """
    return not record.name.startswith("streams.") or str(record.msg).startswith("[")


def _exception_of(record: logging.LogRecord) -> BaseException | None:
    """The exception that a record is about: the one being handled, or one among its arguments."""
    if record.exc_info and record.exc_info[1] is not None:
        return record.exc_info[1]
    args = record.args if isinstance(record.args, tuple) else ()
    return next((arg for arg in args if isinstance(arg, BaseException)), None)


def _mark(error: BaseException | None) -> None:
    """Note in an exception that it was logged. All exceptions but those with slots have room for it."""
    if error is not None and hasattr(error, "__dict__"):
        error.__dict__[_LOGGED] = True


# ------------------------------------------------------------------------------------------------------- how it is told


class TextLine(logging.Formatter):
    """An entry as a line of text: time, level, logger, message, request id, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Line breaks in it become " | ", and other control characters such as "\\x1b"."""
        line = f"{_time(record)} {record.levelname} {record.name}: {_message(record)}"
        if request_id := REQUEST_ID.get():
            line += f" [request {request_id}]"
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line += f" | {_told(error)} | Traceback, innermost first: {' < '.join(_frames(error))}"
        one = " | ".join(part.strip() for part in line.splitlines() if part.strip())
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", one)


class JsonLine(JsonFormatter):
    """An entry as a JSON object: time, level, logger, message, instance; request_id, facts and exception if there are.

    ``exception`` is its class and message, ``traceback`` a list of calls, the innermost first.
    """

    def __init__(self, instance: str) -> None:
        super().__init__()
        self._instance = instance

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill ``log_data``. Other attributes that a library gave its record are left out."""
        log_data.update(time=_time(record), level=record.levelname, logger=record.name)
        log_data.update(message=_message(record), instance=self._instance)
        if request_id := REQUEST_ID.get():
            log_data["request_id"] = request_id
        log_data.update(getattr(record, "facts", {}))
        if record.exc_info and (error := record.exc_info[1]) is not None:
            log_data.update(exception=_told(error), traceback=list(_frames(error)))


def _time(record: logging.LogRecord) -> str:
    """When it was logged, as RFC 3339 in UTC to the ms."""
    return utc_text(int(record.created * 1000), "milliseconds")


def _message(record: logging.LogRecord) -> str:
    """The message; of a library with numbers masked, since a library shows values that it was given."""
    message = record.getMessage()
    return masked_numbers(message) if _is_of_library(record) else message


def masked_numbers(text: str) -> str:
    """The text with "…" for what may be a telephone number."""
    return _NUMBER.sub("…", text)


def _told(error: BaseException) -> str:
    """An exception's class and message, and those that led to it, on one line. Numbers are masked."""
    told: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen and len(told) < CAUSES_MAX:
        seen.add(id(each))
        told.append(" ".join([f"{type(each).__name__}:", *str(each)[:MESSAGE_MAX].split()]).removesuffix(":"))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return masked_numbers(", caused by ".join(told))


def _frames(error: BaseException) -> Iterator[str]:
    """The calls of a traceback as "package/file.py:line in function", the innermost first, FRAMES_MAX at most."""
    stack = traceback.extract_tb(error.__traceback__)
    for frame in list(reversed(stack))[:FRAMES_MAX]:
        parts = PurePath(frame.filename).parts
        yield f"{'/'.join(parts[-3:])}:{frame.lineno} in {frame.name}"
