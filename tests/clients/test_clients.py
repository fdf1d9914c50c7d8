"""The vendor's own clients: what their samples send gets the counters or, where it is no HTTP, a 400 that says so.

A client whose runtime is missing is skipped. axios and OkHttp are fetched from their registries only if
ECOUNTERS_TEST_CLIENTS=1. With that nothing is skipped, and a missing runtime fails.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.accounts import TOKEN, add_users
from tests.support.kafka_jars import PLUGIN
from tests.support.workers import PATH, ROOT, Deployment, Worker

HERE = Path(__file__).parent
ALL = os.environ.get("ECOUNTERS_TEST_CLIENTS") == "1"
LIMIT_S = 120.0
"""Go may have to compile its library first."""
BODY = json.dumps({"userId": "u1", "token": TOKEN}, indent=4)


@pytest.fixture(scope="module")
def worker(broker: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that knows one user."""
    deployment = Deployment(broker, redis_url, tmp_path_factory.mktemp("clients"))
    deployment.create_topics()
    add_users(deployment, ["u1"])
    with Worker(deployment) as started:
        yield started.wait_ready()


def program(name: str) -> str:
    """The path of a runtime. Without it the test is skipped, or fails with ECOUNTERS_TEST_CLIENTS=1."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        (pytest.fail if ALL else pytest.skip)(f"there is no {name} here")
    return found


def fetched(command: Sequence[str], into: Path) -> None:
    """Let npm or Maven fetch what a client needs."""
    if not ALL:
        pytest.skip("ECOUNTERS_TEST_CLIENTS=1 fetches what this client needs")
    done = subprocess.run(
        [program(command[0]), *command[1:]], cwd=into, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


def said(command: Sequence[str], typed: str | None = None, **more: str) -> str:
    """Run a client and return its output."""
    environment = {**os.environ, **more}
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        input=typed,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


CLIENTS = {
    "curl": ["curl", "-sS", "--location", "-g", "--request", "POST", "URL", "--data-raw", "BODY"],
    "wget": ["wget", "-q", "-O-", "--post-data=BODY", "URL"],
    "go": ["go", "run", str(HERE / "ask.go"), "URL", "BODY"],
    "ruby": ["ruby", str(HERE / "ask.rb"), "URL", "BODY"],
    "php": ["php", str(HERE / "ask.php"), "URL", "BODY"],
    "fetch": ["node", str(HERE / "fetch.mjs"), "URL", "BODY"],
    "httpie": ["http", "--follow", "POST", "URL", "Content-Length:"],
}


def url(worker: Worker) -> str:
    """The URL of the counters."""
    return f"http://127.0.0.1:{worker.port}{PATH}"


def expected(worker: Worker) -> str:
    """The reply as another client gets it."""
    reply = worker.ask(json.loads(BODY))
    assert reply.status == 200
    return reply.body.decode()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_gets_the_counters(worker: Worker, name: str) -> None:
    """Each client gets the counters, whatever Content-Type it sends."""
    command = [part.replace("URL", url(worker)).replace("BODY", BODY) for part in CLIENTS[name]]
    assert said(command, BODY if name == "httpie" else None).strip() == expected(worker)


def test_okhttp_gets_the_counters(worker: Worker, tmp_path: Path) -> None:
    """Java's OkHttp, which sends text/plain, gets the counters."""
    pom = str(ROOT / "deploy" / "okhttp" / "pom.xml")
    fetched(["mvn", "-q", "-B", "-f", pom, f"{PLUGIN}:copy-dependencies", f"-DoutputDirectory={tmp_path}"], tmp_path)
    command = ["java", "-cp", f"{tmp_path}/*", str(HERE / "okhttp" / "Ask.java"), url(worker), BODY]
    assert said(command).strip() == expected(worker)


def test_axios_gets_the_counters_and_a_clear_400_with_the_samples_empty_content_length(
    worker: Worker, tmp_path: Path
) -> None:
    """Axios gets the counters; with the empty Content-Length of the vendor's sample it gets a 400."""
    fetched(["npm", "install", "--silent", "--no-audit", "--no-fund", "axios@1"], tmp_path)
    axios = str(tmp_path / "node_modules" / "axios")
    command = ["node", str(HERE / "axios.cjs"), url(worker), BODY]
    assert said(command, AXIOS=axios).strip() == expected(worker)
    check_refusal(said([*command, ""], AXIOS=axios))


def test_pythons_client_gets_the_counters_and_a_clear_400_with_the_samples_empty_content_length(worker: Worker) -> None:
    """http.client gets the counters; with the empty Content-Length of the vendor's sample it gets a 400."""
    for headers, status in (({}, 200), ({"Content-Length": ""}, 400)):
        connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
        connection.request("POST", PATH, BODY, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        assert response.status == status
        if status == 200:
            assert text == expected(worker)
        else:
            check_refusal(text)


def test_libcurl_gets_a_clear_400_with_the_samples_headers(worker: Worker) -> None:
    """The vendor's sample makes libcurl leave out Content-Length, and the body with it: the reply is a 400."""
    command = ["curl", "-sS", "-X", "POST", "-L", "-H", "Content-Length: ", "--data-raw", BODY, url(worker)]
    error = json.loads(said(command))
    assert (error["status"], error["code"]) == ("error", 1000)
    assert "the body is empty" in error["message"] or "no valid HTTP" in error["message"]


def test_the_samples_bytes_by_hand_get_the_counters(worker: Worker) -> None:
    """The vendor's sample request, sent as bytes with the right Content-Length, gets the counters."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as plain:
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(BODY)}\r\n\r\n"
        plain.sendall((head + BODY).encode())
        assert plain.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")


def check_refusal(text: str) -> None:
    """Assert a 400 in the documented form."""
    error = json.loads(text)
    assert (error["status"], error["code"]) == ("error", 1000)
    assert "Content-Length" in error["message"]
