"""The errors that rooms raise for one another, by what their catcher does next.

* EcountersError
  x BadEvent           dead-letter the message and go on; carries ``reason`` and ``field``
  x RequestRefused     reply to the request with it; carries ``code``, ``http_status`` and ``detail``
  x Stop               print it as one line and end the process with ``exit_code`` 1
    + SettingsError    the same for a wrong setting: ``exit_code`` 2
    + AccessRefused    the same where Kafka or Redis does not let this process in, or not do it: ``exit_code`` 2
    + Unfit            the same where topics or a saved state do not fit what the settings name: ``exit_code`` 2

``partition.records.Misrouted`` is a BadEvent whose message is published again instead. A function that raises something
else, as ValueError for a damaged changelog or KafkaError, says so in its docstring. Any other exception is a bug.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class EcountersError(Exception):
    """The base class of the errors in this file."""


REASONS: Final = {
    "empty": "the message has no value",
    "too_large": "over 64 KiB; a switch.snapshot: over 1 MiB, or over 64 KiB with more than 200 arrays and objects",
    "not_json": "not JSON in UTF-8, or nested deeper than 200 arrays and objects",
    "not_object": "JSON, but no object",
    "missing": "a field that this type needs is not there, or null",
    "wrong_type": "a field is of another type of JSON than it must be",
    "empty_id": "an id is the empty text",
    "too_long": "an id has more than 128 characters",
    "bad_value": "a field's value is none of those allowed",
    "bad_ts": "the time is not in the years 2000 to 2099, or has no offset",
    "unknown_type": "no such type of event",
    "clock_ahead": "the time is more than 5 minutes later than the broker's clock (the worker's, if producers stamp)",
    "late": "of an unknown call, 15 minutes or more behind the newest event of the partition",
    "call_id_reused": "a second call with the id of one that has ended: its call.started, and all that follows",
    "call_too_large": "more of a call than is kept: 200 starts, 200 legs, 1,000 each of inputs, holds and IVR entries",
    "not_forwarded": "of another partition's user, and the worker may not write to the topic of events",
    "unreadable": "a record batch with a wrong checksum, or that cannot be unpacked; stands for all of its messages",
}
"""Reason of a dead letter -> why the message cannot be counted. The minutes are those of the default settings."""


class BadEvent(EcountersError):
    """A message that cannot be counted, and so becomes a dead letter.

    reason  a key of REASONS (of a Misrouted event, "misrouted")
    field   the JSON name of the bad field, or "" if the reason is about the whole message
    """

    user_id = ""
    """The account whose partition must count the message: of a Misrouted event alone."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return f"{self.reason}: {self.field}" if self.field else self.reason


class ApiError(NamedTuple):
    """One documented error of the API. ``text`` is the vendor's; ``http_status`` is the usual status of the reply."""

    text: str
    http_status: int


INVALID_PARAMETER: Final = 1000
INVALID_TYPE: Final = 1001
NO_USER: Final = 1002
NO_STORE: Final = 1010
DENIED: Final = 1015
INTERNAL: Final = 1032
LOGGED_OUT: Final = 1043

API_ERRORS: Final = {
    INVALID_PARAMETER: ApiError("Invalid parameter", 400),
    INVALID_TYPE: ApiError("Invalid data type", 400),
    NO_USER: ApiError("UserId not provided", 400),
    NO_STORE: ApiError("Error in DB connect", 503),
    DENIED: ApiError("Permission denied", 403),
    INTERNAL: ApiError("Internal server error", 500),
    LOGGED_OUT: ApiError("Agent is not logged in", 403),
}
"""Code -> text and HTTP status. Codes and texts are those of the vendor's API; the statuses are this project's."""


class RequestRefused(EcountersError):
    """A request that gets an error as its reply.

    code           a key of API_ERRORS
    detail         what is wrong, and where in the request; "" if the text of the code says enough
    http_status    the status of the reply: that of the code in API_ERRORS, unless the raiser passes another one
    retry_after_s  the value of the header Retry-After in seconds; only replies with status 429 and 503 have the header
    """

    def __init__(self, code: int, detail: str = "", *, http_status: int | None = None, retry_after_s: int = 1) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.http_status = API_ERRORS[code].http_status if http_status is None else http_status

    def __str__(self) -> str:
        text = API_ERRORS[self.code].text
        return f"{text}: {self.detail}" if self.detail else text


class Stop(EcountersError):
    """The process cannot go on. The text is one line for the terminal: what is wrong and what to do about it.

    ``streams.cli.main`` prints it and returns ``exit_code``. The dashboard catches those of ``streams.access``.
    """

    exit_code = 1


class SettingsError(Stop):
    """A setting is wrong or unknown. The text names the setting."""

    exit_code = 2


class AccessRefused(Stop):
    """Kafka or Redis refuses who this process is, or what it must do. The text says which, and what helps."""

    exit_code = 2


class Unfit(Stop):
    """A worker must not begin: a topic or the saved state is not what the settings need. The text says what helps."""

    exit_code = 2
