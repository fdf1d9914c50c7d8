"""On an Apache Kafka that wants TLS, a log-in and rights: workers and commands get in, and say why if they do not."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ecounters.errors import AccessRefused
from streams.cli import main
from streams.kafka.first_look import first_look
from streams.kafka.growing import add_partitions, make_changelog_anew
from streams.kafka.refusals import access_refused
from tests.support.accounts import TOKEN, add_users
from tests.support.acls import give_rights, rights_of, without
from tests.support.audits import audited, ran
from tests.support.certificates import Authority
from tests.support.kafka_cluster import Cluster
from tests.support.kafka_security import BRIEF, MTLS, OPERATOR, PASSWORD, SASL, WORKER, Security
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

PRINCIPAL = f"User:{WORKER}"
OPERATORS_PRINCIPAL = f"User:{OPERATOR}"
LIMIT_S = 40.0

T = TypeVar("T")

# aiokafka does not wait until a connection of TLS that failed is closed; asyncio complains when the loop ends first.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _no_connections_left() -> Iterator[None]:
    """Let the complaint come within the test that left the connection, and not in a later one."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An Apache Kafka with secured listeners."""
    if not os.environ.get("ECOUNTERS_TEST_BROKER"):
        pytest.skip("secured listeners are those of Apache Kafka: `make test-kafka` runs it")
    security = Security(tmp_path_factory.mktemp("security"))
    with Cluster(tmp_path_factory.mktemp("secured"), security=security) as made:
        yield made


@pytest.fixture(scope="module")
def plain(secured: Cluster, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Topics on that Kafka, by the listener that wants nothing. Workers and the operator have their least rights."""
    settings = {"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200}
    made = Deployment(secured.address, redis_url, tmp_path_factory.mktemp("logs"), partitions=2, settings=settings)
    made.create_topics()
    give_rights(secured, made, WORKER=PRINCIPAL, OPERATOR=OPERATORS_PRINCIPAL)
    yield made
    made.end_all()


def entering(plain: Deployment, cluster: Cluster, how: str, **more: object) -> Deployment:
    """The same deployment, whose processes come by a secured listener. ``how``: a mechanism, or MTLS."""
    assert cluster.security is not None
    address = cluster.address_of(MTLS if how == MTLS else SASL)
    return plain.with_settings(**{"BROKER": address, **cluster.security.client_settings(how), **more})


@pytest.mark.usefixtures("no_users")
def test_workers_and_the_audit_get_in(plain: Deployment, secured: Cluster) -> None:
    """By each mechanism and by a certificate, with the least rights: a call is counted and saved, audits are equal."""
    add_users(plain, ["u1"])
    ways = (("SCRAM-SHA-512", "PLAIN"), (MTLS, "SCRAM-SHA-256"))
    for number, (how, how_audited) in enumerate(ways, 1):
        with Worker(entering(plain, secured, how)).wait_ready() as worker:
            call = RecentCall(how, "u1").started(0, "IBD").ringing(1).answered(2).ended(9, 3)
            publish_values(plain, "u1", *call.values())
            wait_for_counter(worker, "u1", "TC", number)
            wait_until_flushed(plain)
            exit_code, lines, err = audited(entering(plain, secured, how_audited), worker)
            assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (how, lines, err)
            worker.end()
            said = worker.log.read_text()
        assert PASSWORD not in said
        assert "AuthorizationFailed" not in said, said


def refused(deployment: Deployment, **changed: str) -> str:
    """Why Kafka does not let a process of a deployment in; "" if it does. ``changed``: fields of Kafka."""
    why = asyncio.run(access_refused(dataclasses.replace(deployment.kafka, **changed)))
    assert why is None or why.exit_code == 2
    return str(why or "")


def test_who_is_not_let_in_learns_why(
    plain: Deployment, secured: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake has its own line, which names the variable."""
    monkeypatch.setattr("streams.kafka.refusals.CONFIRM_S", 0.0)
    scram, mutual = entering(plain, secured, "SCRAM-SHA-512"), entering(plain, secured, MTLS)
    plain_address, sasl_address = secured.address, secured.address_of(SASL)
    other = Authority(tmp_path, "Another authority")
    for_another_host = f"localhost:{sasl_address.rsplit(':', 1)[1]}"
    assert refused(scram) == refused(mutual) == refused(plain) == ""
    for user, mechanism in (("ecounters", "SCRAM-SHA-256"), ("nobody", "SCRAM-SHA-512"), ("ecounters", "PLAIN")):
        said = refused(scram, user=user, password="wrong", mechanism=mechanism)
        assert f"refuses the log-in of {user} by {mechanism}" in said
        assert "ECOUNTERS_KAFKA_USER or ECOUNTERS_KAFKA_PASSWORD is wrong" in said
        assert "wrong-" not in said
    (tmp_path / "token").write_text("e30.e30.")
    assert "refuses the token" in refused(scram, mechanism="OAUTHBEARER", token_file=str(tmp_path / "token"))
    assert "speaks TLS on this port" in refused(scram, protocol="plaintext")
    assert "speaks TLS on this port" in refused(scram, protocol="sasl_plaintext")
    assert "speaks no TLS on this port" in refused(scram, brokers=plain_address)
    assert "has no log-in by SASL" in refused(scram, brokers=plain_address, protocol="sasl_plaintext")
    assert "wants a log-in by SASL" in refused(scram, protocol="ssl")
    assert "not trusted: unable to get local issuer" in refused(scram, ca=str(other.ca))
    assert "not trusted: unable to get local issuer" in refused(scram, ca="")
    assert "Hostname mismatch" in refused(scram, brokers=for_another_host)
    assert "wants a certificate of this client" in refused(mutual, certificate="", key="")
    stranger = dict(zip(("certificate", "key"), map(str, other.signed("ecounters")), strict=True))
    assert "refuses the certificate of ECOUNTERS_KAFKA_CERT" in refused(mutual, **stranger)
    assert refused(scram, brokers="127.0.0.1:9") == ""


def test_a_worker_and_a_command_that_are_refused_end(plain: Deployment, secured: Cluster) -> None:
    """With exit code 2 and one line, instead of trying again for ever; the password is not in it."""
    for command, how, changed, words in (
        ("worker", "SCRAM-SHA-512", {"KAFKA_PASSWORD": "wrong-word"}, "ECOUNTERS_KAFKA_PASSWORD is wrong"),
        ("topics", MTLS, {"BROKER": secured.address}, "speaks no TLS on this port"),
    ):
        exit_code, _, err = ran(entering(plain, secured, how, **changed), command)
        last = err.splitlines()[-1]
        assert (exit_code, words in last, "wrong-word" in err) == (2, True, False), err
        assert last.startswith("ecounters: Kafka at 127.0.0.1:")


def until(get: Callable[[], T], holds: Callable[[T], bool]) -> T:
    """Ask again until the answer is right, and return it."""
    deadline = time.monotonic() + LIMIT_S
    while not holds(answer := get()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


@pytest.mark.usefixtures("no_users")
def test_a_worker_that_is_not_let_in_any_more_goes_on_and_says_why(plain: Deployment, secured: Cluster) -> None:
    """Its token is refused, and its connections are cut off: it answers, does not end, and counts on with a new one."""
    assert secured.security is not None
    add_users(plain, ["u2"])
    token = secured.security.token
    good, u2 = token.read_text(), {"userId": "u2", "token": TOKEN}
    deployment = entering(plain, secured, "OAUTHBEARER", BROKER=secured.address_of(BRIEF), STALE_AFTER_MS=1_000)
    with Worker(deployment).wait_ready() as worker:
        publish_values(plain, "u2", *RecentCall("c1", "u2").started(0, "IBD").values())
        wait_for_counter(worker, "u2", "LCT", {"IBD": 1})
        token.write_text("e30.e30.")
        try:
            until(worker.log.read_text, lambda said: "refuses the token of ECOUNTERS_KAFKA_TOKEN_FILE" in said)
            stale = until(lambda: worker.ask(u2), lambda reply: reply.headers["X-Ecounters-Complete"] == "false")
            assert (stale.status, stale.json["message"]["LCT"]) == (200, {"IBD": 1})
            publish_values(plain, "u2", *RecentCall("c2", "u2").started(0, "IBD").values())
        finally:
            token.write_text(good)
        wait_for_counter(worker, "u2", "LCT", {"IBD": 2})
        until(lambda: worker.ask(u2), lambda reply: reply.headers["X-Ecounters-Complete"] == "true")
        assert worker.log.read_text().count("the topics cannot be looked at now") <= 3
        worker.end()


def test_a_start_names_each_right_that_is_missing(plain: Deployment, secured: Cluster) -> None:
    """Each right of a worker is taken away alone. What can be done without is a warning."""
    settings = entering(plain, secured, MTLS).loaded()
    events, dlq = settings.topic, settings.dlq_topic

    def said() -> str:
        try:
            return "\n".join(asyncio.run(first_look(settings)).lines)
        except AccessRefused as error:
            return f"refused: {error}"

    rights = rights_of(secured.address, PRINCIPAL)
    assert len(rights) == 11
    assert "Kafka does not allow" not in said()
    can_do_without = {f"Write on topic {events}", f"Write on topic {dlq}", f"Read on topic {dlq}"}
    for acl in rights:
        with without(secured.address, PRINCIPAL, acl):
            lines = said()
        assert f"Kafka does not allow {acl.words}" in lines
        assert lines.startswith("refused: ") == (acl.words not in can_do_without), lines


def test_a_command_names_each_right_that_is_missing(
    plain: Deployment,
    secured: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each right of the operator is taken away alone, and a command that needs it says so with exit code 2."""
    assert secured.security is not None
    operator = entering(plain, secured, MTLS, **secured.security.operator_settings())
    settings, log = operator.loaded(), tmp_path / "log"
    events, dlq, changelog = settings.topic, settings.dlq_topic, settings.changelog_topic
    log.write_text("{}\n")
    for name, value in operator.environment().items():
        if name.startswith("ECOUNTERS_"):
            monkeypatch.setenv(name, value)

    def said(*words: str) -> str:
        assert main([*words]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    async def grow(topic: str) -> None:
        if topic == changelog:
            await make_changelog_anew(operator.kafka, topic, 2, 1)
        else:
            await add_partitions(operator.kafka, topic, 3)

    commands: dict[str, dict[str, tuple[str, ...]]] = {
        "Read": {events: ("explain", "--user", "u1", "--counter", "TC"), dlq: ("dlq",), changelog: ("state", "check")},
        "Write": {events: ("replay", str(log)), f"{settings.app_id}-state-": ("state", "export", str(tmp_path / "x"))},
        "DescribeConfigs": dict.fromkeys((events, dlq, changelog), ("topics",)),
        "Describe": {settings.app_id: ("state", "show")},
        "Create": {},
    }
    of_all = {words for by_name in commands.values() for words in by_name.values()}
    assert {words: main([*words]) for words in of_all} == dict.fromkeys(of_all, 0), capsys.readouterr().err
    (tmp_path / "x").unlink()
    tried = 0
    for acl in rights_of(secured.address, OPERATORS_PRINCIPAL):
        operation = acl.words.split()[0]
        with without(secured.address, OPERATORS_PRINCIPAL, acl):
            if operation in ("Alter", "Delete"):
                with pytest.raises(AccessRefused, match=f"Kafka does not allow {acl.words}"):
                    asyncio.run(grow(acl.name))
            elif acl.name in commands[operation]:
                assert said(*commands[operation][acl.name]).startswith(f"ecounters: Kafka does not allow {acl.words}")
            else:
                continue
        tried += 1
    assert tried == 12
