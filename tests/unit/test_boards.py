"""The Grafana boards of ``deploy/``: their queries are PromQL on metrics that are there, and compose loads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from streams.metrics.accounts import FAMILIES, PREFIX
from tests.support.prometheus import refused_by_promtool
from tests.support.series_names import unknown_metrics

DEPLOY: Final = Path(__file__).parent.parent.parent / "deploy"
GRAFANA: Final = DEPLOY / "grafana"
BOARDS: Final = sorted((GRAFANA / "boards").glob("*.json"))
COLUMNS: Final = 24
_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")


def board_of(path: Path) -> dict[str, Any]:
    """A board as Grafana reads it."""
    board: dict[str, Any] = json.loads(path.read_text())
    return board


def queries(board: dict[str, Any]) -> list[str]:
    """The expressions of all panels."""
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_asks_for_metrics_that_are_there_by_variables_that_it_has(path: Path) -> None:
    """A panel on a metric that was renamed is empty, and nobody sees why."""
    board = board_of(path)
    assert unknown_metrics(path.read_text().replace(board["uid"], "")) == set()
    variables = {one["name"] for one in board["templating"]["list"]} | {"__rate_interval"}
    assert set(_VARIABLE.findall(path.read_text())) <= variables
    sources = [one["datasource"] for panel in board["panels"] for one in (panel, *panel.get("targets", ()))
               if panel["type"] != "row"]  # fmt: skip
    assert {source["uid"] for source in sources} == {"${datasource}"}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(path: Path) -> None:
    """Grafana would move one of two panels at the same place, and mix up two of one number."""
    panels = board_of(path)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= COLUMNS, panel["title"]
        taken |= cells


def test_the_board_of_accounts_shows_all_metrics_of_accounts() -> None:
    """What is exported for dashboards is on one."""
    shown = " ".join(queries(board_of(GRAFANA / "boards/account.json")))
    assert [family.name for family in FAMILIES if not re.search(rf"\b{PREFIX}{family.name}(_total)?\b", shown)] == []


def test_prometheus_takes_every_query_of_the_boards(tmp_path: Path) -> None:
    """As the expressions of recording rules, with values in place of Grafana's variables."""
    expressions = [query for path in BOARDS for query in queries(board_of(path))]
    assert len(expressions) > 50
    plain = [_VARIABLE.sub(lambda found: "5m" if found[1].startswith("__") else "x", one) for one in expressions]
    assert refused_by_promtool(tmp_path, plain) == ""


def test_compose_gives_grafana_the_boards_and_their_prometheus() -> None:
    """At the paths that the provisioning names."""
    service = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]["grafana"]
    mounted = {target: DEPLOY / "compose" / path for path, target, _ in (one.split(":") for one in service["volumes"])}
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/ecounters.yml").read_text())["providers"][0]
    assert mounted[provider["options"]["path"]].resolve() == GRAFANA / "boards"
    assert mounted["/etc/grafana/provisioning"].resolve() == GRAFANA / "provisioning"
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    prometheus = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
