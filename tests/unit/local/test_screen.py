"""What `ecounters run` prints."""

from __future__ import annotations

import dataclasses
import shlex

from streams.local.screen import counters_line, welcome
from streams.settings.load import load


def test_an_answer_as_a_line() -> None:
    """The totals first, the most frequent types of live calls before the others."""
    message = {"TC": 1200, "CNC": 900, "MC": 200, "GHC": 7, "LCT": {"BRD": 1, "CTC": 3, "IBD": 1}, "LIVR": {"5": 2}}
    assert counters_line({"status": "success", "message": message}, "61500") == (
        "calls 1,200  answered 900  missed 200  ghost 7  (61 s behind)  live 5  in IVR 2  CTC 3 BRD 1 IBD 1"
    )
    refused = {"status": "error", "message": "Internal server error", "code": 1032}
    assert counters_line(refused, "0") == "no answer: Internal server error"


def test_a_token_that_was_replaced() -> None:
    """`ecounters user token` has made another one while the line was shown: the line says what to do."""
    refused = {"status": "error", "message": "Permission denied", "code": 1015}
    assert counters_line(refused, "0") == (
        "no answer: the token above is no longer that of u1; to see counters here, start again"
    )


def test_the_export_line_makes_other_commands_use_the_embedded_broker_and_store() -> None:
    """A shell that has read the printed line gives broker, Redis and port of this run to the commands after it."""
    embedded = dataclasses.replace(load({}), broker="127.0.0.1:20001", redis="redis://127.0.0.1:20002/0", port=8085)
    printed = welcome(embedded, "http://127.0.0.1:8085", "secret", simulate=True).splitlines()
    (line,) = [line for line in printed if line.startswith("  export ")]
    exported = load(dict(variable.split("=", 1) for variable in shlex.split(line)[1:]))
    assert (exported.broker, exported.redis, exported.port) == (embedded.broker, embedded.redis, embedded.port)
