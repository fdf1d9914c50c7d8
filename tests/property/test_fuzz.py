"""`make fuzz` tries what it says, and finds faults that are planted."""

from __future__ import annotations

import re
import sys
import time

import pytest

from ecounters.calls import join
from ecounters.recount import parse as recount_parse
from tests.fuzz import __main__ as command
from tests.fuzz.logs import Logs
from tests.fuzz.requests import Requests
from tests.fuzz.rounds import ROUND, shortest, try_until
from tests.fuzz.values import Values


def test_a_fault_is_found_again_by_its_seed_and_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recount that refuses messages of more than 100 bytes differs from the parser, in one of 101 bytes."""
    monkeypatch.setattr(recount_parse, "BYTES_MAX", 100)
    found = try_until(Values(), 1, time.monotonic() + 60)
    assert found.fault and found.inputs
    again = try_until(Values(), found.seed, 0.0)
    assert again.fault == found.fault and again.inputs <= ROUND
    assert found.fault.startswith("101 bytes: b'"), found.fault


def test_a_difference_between_state_and_recount_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that knows no legs that ended elsewhere differs from the recount, in a log of few events."""
    monkeypatch.setattr(join, "ELSEWHERE", "nowhere")
    found = try_until(Logs(), 1, time.monotonic() + 60)
    assert "elsewhere" in found.fault and found.fault.count("Step(") <= 6, found.fault


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """A round of each target without a worker."""
    for target in (Values(), Logs()):
        assert try_until(target, 3, 0.0).fault == ""


def test_what_remains_is_the_shortest_that_fails() -> None:
    """All that is not needed for the failure goes."""

    def check(given: bytes) -> None:
        assert not (b"a" in given and b"z" in given)

    assert shortest(b"xxaxxxxyyyzxxx" * 9, check) in (b"az", b"za")


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b'HTTP/1.1 400 Bad Request\r\n\r\n{"status":"error","code":1032,"message":""}',
        b"HTTP/1.1 200 OK\r\n\r\nTraceback (most recent call last)",
        b"nonsense",
    ],
)
def test_a_reply_that_no_client_may_get_is_a_fault(reply: bytes) -> None:
    """A server error, 503 without Retry-After, the code of the unforeseen, a traceback, no HTTP."""
    with pytest.raises(AssertionError):
        Requests()._look_at(reply)


def test_the_command_says_how_many_inputs_it_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 and the number without a fault; 1, the seed, the input and the error with one."""
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", "0", "--only", "values", "--seed", "5"])
    assert command.main() == 0
    assert re.fullmatch(r"values: from seed 5\nvalues: [0-9]+ inputs in [0-9]+ s, no fault\n", capsys.readouterr().out)
    monkeypatch.setattr(Values, "check", lambda self, given: 1 // 0)
    monkeypatch.setattr(Values, "told", lambda self, given: "the input")
    assert command.main() == 1
    said = capsys.readouterr().out
    assert "a fault\n--only values --seed 5 finds it first:\nthe input\n" in said and "ZeroDivisionError" in said
