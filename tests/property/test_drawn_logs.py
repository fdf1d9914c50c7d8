"""The drawn logs have what they are for: each finer definition decides something in some of them."""

from __future__ import annotations

from collections import Counter

from hypothesis import Phase, given, settings

from tests.support.log_features import FEATURES, features
from tests.support.log_strategies import Step, chaotic


def test_each_finer_definition_occurs_in_drawn_logs() -> None:
    """Of 300 logs, at least 3 have each of the features."""
    seen: Counter[str] = Counter()

    @settings(max_examples=300, phases=[Phase.generate])
    @given(chaotic())
    def look(steps: list[Step]) -> None:
        seen.update(features(steps))

    look()
    assert {name: seen[name] for name in FEATURES if seen[name] < 3} == {}
