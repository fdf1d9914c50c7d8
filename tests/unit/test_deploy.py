"""The files of ``deploy/``: settings, ports, paths, users, times and selectors fit the program and each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from streams.settings.load import BUILD_NAME, FILE_SUFFIX
from streams.settings.table import SETTINGS, Settings
from streams.web.paths import HEALTH_PATH, READY_PATH
from streams.worker import END_S, STOP_LIMIT_S

DEPLOY: Final = Path(__file__).parent.parent.parent / "deploy"
FILES: Final = sorted(
    path
    for folder in ("systemd", "kubernetes", "compose", "nginx", "prometheus", ".")
    for path in (DEPLOY / folder).iterdir()
    if path.is_file() and path.suffix not in (".md", ".lock")
)
NAMES: Final = {row.env for row in SETTINGS} | {row.env + FILE_SUFFIX for row in SETTINGS if row.secret}
END_LIMIT_S: Final = Settings().drain_s + STOP_LIMIT_S + Settings().handover_s + END_S
LABELS: Final = {"app.kubernetes.io/name": "ecounters"}


def unknown(text: str) -> set[str]:
    """Names that look like settings and are none."""
    return set(re.findall(r"\bECOUNTERS_[A-Z0-9_]+\b", text)) - NAMES - {BUILD_NAME}


def kubernetes() -> dict[str, dict[str, Any]]:
    """The objects of the kustomize base by kind and name."""
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    documents = [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())
    ]
    return {f"{document['kind']} {document['metadata']['name']}": document for document in documents}


def compose() -> dict[str, Any]:
    """The services of compose.yaml."""
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]
    return services


def unit() -> dict[str, list[str]]:
    """The lines of the systemd unit by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", (DEPLOY / "systemd/ecounters@.service").read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_a_file_names_is_there(path: Path) -> None:
    """A worker refuses to start with a setting that it does not know."""
    assert not unknown(path.read_text(encoding="utf-8"))


def test_the_check_of_names_finds_a_wrong_one() -> None:
    """Each check finds a planted fault."""
    assert unknown("ECOUNTERS_BROKER=x ECOUNTERS_REDIS_FILE=x ECOUNTERS_BROKERS=x") == {"ECOUNTERS_BROKERS"}
    assert len(FILES) > 8


def test_every_manager_waits_for_a_workers_end() -> None:
    """What kills a worker amid its handover makes its users wait; and the drain is longer than two probes."""
    pod = kubernetes()["StatefulSet ecounters"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > END_LIMIT_S
    assert float(unit()["TimeoutStopSec"][0]) > END_LIMIT_S
    assert {compose()[name]["stop_grace_period"] for name in ("worker-1", "worker-2")} == {"30s"}
    assert END_LIMIT_S < 30
    assert unit()["Type"] == ["notify"] and float(unit()["WatchdogSec"][0]) >= 10
    ready = pod["containers"][0]["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < Settings().drain_s


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Every line is known to systemd; only the program, which is not installed here, is another one."""
    text = (DEPLOY / "systemd/ecounters@.service").read_text()
    installed = tmp_path / "ecounters@8080.service"
    installed.write_text(text.replace("/opt/ecounters/venv/bin/ecounters", "/bin/true"))
    found = subprocess.run(["systemd-analyze", "verify", installed], capture_output=True, text=True, check=False)
    assert (found.returncode, [line for line in found.stderr.splitlines() if "ecounters@" in line]) == (0, [])


def test_kubernetes_selects_the_workers_and_asks_the_right_ports() -> None:
    """An empty selector would be all pods of the namespace; a probe of a wrong path would end every worker."""
    objects = kubernetes()
    spec = objects["StatefulSet ecounters"]["spec"]
    pod, container = spec["template"]["spec"], spec["template"]["spec"]["containers"][0]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"] == LABELS
    assert objects["PodDisruptionBudget ecounters"]["spec"]["selector"]["matchLabels"] == LABELS
    policy = objects["NetworkPolicy ecounters"]["spec"]
    assert (
        policy["podSelector"]["matchLabels"] == policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"] == LABELS
    )
    assert objects["Service ecounters"]["spec"]["selector"] == LABELS
    headless = objects["Service ecounters-workers"]["spec"]
    assert headless["selector"] == LABELS
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
    assert spec["serviceName"] == "ecounters-workers"
    env = {row["name"]: row.get("value", "") for row in container["env"]}
    ports = {row["name"]: str(row["containerPort"]) for row in container["ports"]}
    assert ports == {"http": env["ECOUNTERS_PORT"], "admin": env["ECOUNTERS_ADMIN_PORT"]}
    assert env["ECOUNTERS_ADVERTISE"] == f"$(POD).ecounters-workers.$(NAMESPACE).svc:{ports['http']}"
    assert [str(rule["ports"][0]["port"]) for rule in policy["ingress"]] == [ports["http"], ports["admin"]]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [probe["path"] for probe in probes.values()] == [HEALTH_PATH, HEALTH_PATH, READY_PATH]
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    assert (spec["podManagementPolicy"], pod["enableServiceLinks"]) == ("Parallel", False)


def test_containers_have_no_rights_and_somewhere_to_write() -> None:
    """Python refuses to start Faust where no folder for temporary files can be written."""
    pod = kubernetes()["StatefulSet ecounters"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"--uid {pod['securityContext']['runAsUser']} " in dockerfile
    assert f"\nUSER {pod['securityContext']['runAsUser']}\n" in dockerfile
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert compose()["worker-1"]["read_only"] and compose()["worker-1"]["tmpfs"] == ["/tmp"]


def test_the_image_has_a_python_that_is_tested() -> None:
    """And it is built from files that are there."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    classifiers = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["classifiers"]
    (version,) = set(re.findall(r"^FROM python:([\d.]+)-slim", dockerfile, re.MULTILINE))
    assert f"Programming Language :: Python :: {version}" in classifiers
    sources = [name for line in re.findall(r"^COPY ((?!--).*) \S+$", dockerfile, re.MULTILINE) for name in line.split()]
    assert "deploy/requirements.lock" in sources and "--require-hashes" in dockerfile
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert all((DEPLOY.parent / name).exists() and f"!{name}" in ignored for name in sources)


def test_compose_has_nginx_and_prometheus_at_its_workers() -> None:
    """nginx is as deploy/nginx has it, which is measured, but for the addresses; Prometheus asks the same workers."""
    workers = [name for name, service in compose().items() if "ECOUNTERS_INSTANCE_ID" in service.get("environment", {})]
    environments = [compose()[name]["environment"] for name in workers]
    addresses = [env["ECOUNTERS_ADVERTISE"] for env in environments]
    assert addresses == [f"{name}:{environments[0]['ECOUNTERS_PORT']}" for name in workers]
    servers = re.compile(r"^\s*(?:#.*|server \S+ max_fails=0;)\n", re.MULTILINE)
    here, measured = ((DEPLOY / name).read_text() for name in ("compose/nginx.conf", "nginx/ecounters.conf"))
    assert servers.sub("", here) == servers.sub("", measured)
    assert re.findall(r"server (\S+) max_fails=0;", here) == addresses
    prometheus = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text())
    mounted = dict(volume.split(":")[:2] for volume in compose()["prometheus"]["volumes"])
    assert all((DEPLOY / "compose" / path).is_file() for path in mounted)
    assert prometheus["rule_files"] == [path for path in mounted.values() if path.endswith(".rules.yml")]
    scraped = prometheus["scrape_configs"][0]["static_configs"]
    assert scraped == [{"targets": [f"{name}:{environments[0]['ECOUNTERS_ADMIN_PORT']}" for name in workers]}]
