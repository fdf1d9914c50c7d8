"""The form of the log, and what is left out of it."""

from __future__ import annotations

import inspect
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from aiokafka.consumer import group_coordinator

from streams.basics.logs import REQUEST_ID, JsonLine, LifeLines, RateLimitedLog, TextLine, masked_numbers

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def written() -> Iterator[dict[str, io.StringIO]]:
    """What the loggers "streams.test" and "library" write, in both forms."""
    outputs = {"text": io.StringIO(), "json": io.StringIO()}
    limit = RateLimitedLog()
    loggers = [logging.getLogger(name) for name in ("streams.test", "library")]
    handlers = []
    for form, formatter in (("text", TextLine()), ("json", JsonLine("w1"))):
        handler = logging.StreamHandler(outputs[form])
        handler.setFormatter(formatter)
        handlers.append(handler)
    for logger in loggers:
        logger.addFilter(limit)
        for handler in handlers:
            logger.addHandler(handler)
    yield outputs
    for logger in loggers:
        logger.removeFilter(limit)
        for handler in handlers:
            logger.removeHandler(handler)


def failing() -> None:
    """Raise an error that names a telephone number, because of another error."""
    try:
        dict[str, int]()["+4915112345678"]
    except KeyError as error:
        raise RuntimeError("two\nlines") from error


def test_an_entry_is_one_line_of_text_or_json(written: dict[str, io.StringIO]) -> None:
    """Time in UTC to the ms, level, logger, message, request, and an exception with its calls."""
    token = REQUEST_ID.set("abc-1")
    try:
        failing()
    except RuntimeError:
        logging.getLogger("streams.test").exception("it\nfailed for %s", "x")
    finally:
        REQUEST_ID.reset(token)
    (line,) = written["text"].getvalue().splitlines()
    time, _, rest = line.partition(" ")
    assert TIME.fullmatch(time) and rest.startswith("ERROR streams.test: it | failed for x [request abc-1] | ")
    assert "RuntimeError: two lines, caused by KeyError: '…'" in line
    assert re.search(r"Traceback, innermost first: unit/basics/test_logs\.py:\d+ in failing < ", line)
    entry = json.loads(written["json"].getvalue())
    assert (entry["level"], entry["logger"], entry["instance"]) == ("ERROR", "streams.test", "w1")
    assert (entry["request_id"], entry["message"]) == ("abc-1", "it\nfailed for x")
    assert entry["exception"] == "RuntimeError: two lines, caused by KeyError: '…'"
    assert entry["traceback"][0].endswith("in failing")
    assert TIME.fullmatch(entry["time"])


def test_one_failure_is_one_entry(written: dict[str, io.StringIO]) -> None:
    """A library logs an exception in each of its services, with and without traceback; the first one is enough."""
    try:
        failing()
    except RuntimeError as error:
        logging.getLogger("library").exception("[^-Consumer]: Crashed reason=%r", error)
        logging.getLogger("library").exception("[^--Fetcher]: crashed, too")
        logging.getLogger("library").error("[^Worker]: gone: %r", error)
    assert len(written["text"].getvalue().splitlines()) == 1
    for _ in range(2):
        logging.getLogger("library").warning("cannot connect to %s", "node 1")
    assert len(written["text"].getvalue().splitlines()) == 2
    logging.getLogger("library").info("chatter")
    logging.getLogger("streams.test").warning("ours")
    logging.getLogger("streams.test").warning("ours")
    assert len(written["text"].getvalue().splitlines()) == 4


def test_a_commit_that_failed_is_logged_by_this_project_alone() -> None:
    """aiokafka logs an error of the group and raises it too; what it tries again, perhaps for ever, it logs alone."""
    limit, name = RateLimitedLog(), "aiokafka.consumer.group_coordinator"
    raised = "OffsetCommit failed for group %s due to group error (%s), will rejoin"
    retried = "OffsetCommit failed for group %s on partition %s with offset %s: %s"
    source = re.sub(r'"\s+"', "", inspect.getsource(group_coordinator))
    assert raised in source and retried in source
    for message, is_logged in ((raised, False), (retried, True)):
        assert limit.filter(logging.LogRecord(name, logging.ERROR, "", 0, message, ("g", "e"), None)) == is_logged


def test_a_librarys_words_have_no_telephone_number(written: dict[str, io.StringIO]) -> None:
    """What it quotes is masked; offsets and ports are not."""
    logging.getLogger("library").warning("%r at offset 123456789 of 10.0.0.1:9092", {"number": "0049151123456"})
    assert "{'number': '…'} at offset 123456789 of 10.0.0.1:9092" in written["text"].getvalue()
    assert masked_numbers('{"from": 4915112345, "ts": "1"}') == '{"from": …, "ts": "1"}'
    assert masked_numbers('sip:4915112345@x "+4915112345" 4915112345') == 'sip:…@x "…" 4915112345'


def test_a_terminal_gets_nothing_to_obey(written: dict[str, io.StringIO]) -> None:
    """What a library quotes may be a stranger's bytes."""
    logging.getLogger("library").warning("bell %s, color %s, end", "\x07", "\x1b[31m")
    assert "bell \\x07, color \\x1b[31m, end" in written["text"].getvalue()


def test_the_first_and_last_entry_say_what_a_worker_is(
    written: dict[str, io.StringIO], caplog: pytest.LogCaptureFixture
) -> None:
    """Both with what it is bound to; the last one also with the exit code and why."""
    caplog.set_level(logging.INFO)
    life = LifeLines(logging.getLogger("streams.test"), {"version": "1.2", "topic": "events", "partitions": 8})
    life.started("http://127.0.0.1:8080")
    life.ended(70, ValueError("bad"))
    first, last = written["text"].getvalue().splitlines()
    assert first.endswith("started: version=1.2 topic=events partitions=8 serving=http://127.0.0.1:8080")
    assert re.search(r"ended: version=1.2 .* ran_s=[0-9.]+ exit_code=70 reason=ValueError: bad$", last)
    entries = [json.loads(line) for line in written["json"].getvalue().splitlines()]
    assert entries[0]["topic"] == "events" and entries[1]["exit_code"] == 70 and entries[1]["partitions"] == 8
