"""What `ecounters run` prints."""

from __future__ import annotations

from streams.local.screen import counters_line


def test_an_answer_as_a_line() -> None:
    """The totals first, the most frequent types of live calls before the others."""
    message = {"TC": 1200, "CNC": 900, "MC": 200, "GHC": 7, "LCT": {"BRD": 1, "CTC": 3, "IBD": 1}, "LIVR": {"5": 2}}
    assert counters_line({"status": "success", "message": message}, "61500") == (
        "calls 1,200  answered 900  missed 200  ghost 7  (61 s behind)  live 5  in IVR 2  CTC 3 BRD 1 IBD 1"
    )
    assert counters_line({"status": "error", "message": "Permission denied"}, "0") == "no answer: Permission denied"
