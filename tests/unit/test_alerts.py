"""The alerts of ``deploy/``: each names metrics that are there, has a test, and an entry of the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.prometheus import program, refused_by_promtool
from tests.support.series_names import unknown_metrics

DEPLOY: Final = Path(__file__).parent.parent.parent / "deploy"
FOLDER: Final = DEPLOY / "prometheus"
RULES: Final = FOLDER / "ecounters.rules.yml"
TESTS: Final = FOLDER / "ecounters.test.yml"
RUNBOOK: Final = DEPLOY / "runbook.md"
NAMING: Final = (RULES, TESTS, RUNBOOK)
"""The files that name metrics."""


def rules() -> dict[str, dict[str, Any]]:
    """All alerts by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found) > 30
    return {rule["alert"]: rule for rule in found}


def test_every_metric_that_is_named_is_there() -> None:
    """An alert on a metric that was renamed never fires, and nobody notices."""
    assert {path.name: unknown_metrics(path.read_text()) for path in NAMING} == {path.name: set() for path in NAMING}
    planted = 'rate(ecounters_events_accepted_total[5m]) + ecounters_events_accepted{a="ecounters"}'
    assert unknown_metrics(planted) == {"ecounters_events_accepted"}


def test_every_alert_has_an_entry_of_the_runbook_and_every_entry_an_alert() -> None:
    """The alert leads to its entry; the entry has a command to look with."""
    entries = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
    assert list(entries) == list(rules())
    assert [name for name, text in entries.items() if "\n    q '" not in text and "\n    w " not in text] == []
    links = {name: rule["annotations"]["runbook_url"] for name, rule in rules().items()}
    assert links == {name: f"deploy/runbook.md#{name.lower()}" for name in entries}


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    """In one line, which names the deployment or the worker."""
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert re.match(r".*\$labels\.(job|instance)\b.*\.$", rule["annotations"]["summary"]), name


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    """And a check before at which it does not: the first one of its test, or one in between."""
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    fired: dict[str, list[set[str]]] = {}
    for one in tests:
        checks = [set(re.findall(r'alertname="(\w+)"', str(check["exp_samples"]))) for check in one["promql_expr_test"]]
        for name in set().union(*checks):
            fired[name] = checks
    assert sorted(fired) == sorted(rules())
    assert [name for name, checks in fired.items() if all(name in check for check in checks)] == []


def test_promtool_takes_the_rules_and_their_tests_pass() -> None:
    """Prometheus would refuse to start with a rule that it does not understand."""
    for command in (["check", "rules", RULES.name], ["test", "rules", TESTS.name]):
        done = subprocess.run([program("promtool"), *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_every_query_of_the_runbook(tmp_path: Path) -> None:
    """Who was woken up pastes them."""
    queries = re.findall(r"^    q '(.*)'$", RUNBOOK.read_text(), re.MULTILINE)
    assert len(queries) > 60
    assert refused_by_promtool(tmp_path, queries) == ""
    assert "parse error" in refused_by_promtool(tmp_path, ["sum(up"])
