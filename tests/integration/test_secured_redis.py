"""Users and sessions in a Redis with TLS and a user of its own, and behind Sentinel while its master is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.local.children import Guard
from streams.local.ports import LOCAL, free_ports
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import ran
from tests.support.certificates import Authority
from tests.support.redis_servers import RedisServer
from tests.support.workers import Deployment, Worker

PASSWORD = "correct horse/7"
QUOTED = "correct%20horse%2F7"
USER = f'user ecounters on ">{PASSWORD}" ~ecounters:* +@read +@write +@transaction +@scripting +@connection +time'
LIMIT_S = 30.0


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Ends all processes of a test."""
    with Guard() as made:
        yield made


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_company(sentinel: RedisServer) -> bool:
    """Whether a sentinel knows the two others, and two replicas."""
    known: Any = sentinel.client.sentinel_masters()
    return (known["users"]["num-other-sentinels"], known["users"]["num-slaves"]) == (2, 2)


def master_of(sentinel: RedisServer) -> int:
    """The port of the master that a sentinel names; 0 while it takes the master for dead."""
    known: Any = sentinel.client.sentinel_masters()
    return 0 if known["users"]["is_sdown"] or known["users"]["is_odown"] else int(known["users"]["port"])


def asked(worker: Worker, user: str) -> int:
    """The status of a reply to a user with the right token."""
    return worker.ask({"userId": user, "token": TOKEN}).status


def test_a_redis_with_tls_and_an_acl_user(deployment: Deployment, tmp_path: Path, guard: Guard) -> None:
    """Commands and workers log in as a user who may do nothing else; a wrong password and certificate are told."""
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.signed("redis")
    (port,) = free_ports(1)
    tls = [f"tls-port {port}", "port 0", f"tls-cert-file {certificate}", f"tls-key-file {key}",
           f"tls-ca-cert-file {authority.ca}", "tls-auth-clients no"]  # fmt: skip
    config = [*tls, "user default off", "user admin on >admin ~* +@all", USER]
    client = {"ssl": True, "ssl_ca_certs": str(authority.ca), "username": "admin", "password": "admin"}
    server = RedisServer(tmp_path / "redis", port, guard, config, client=client)
    url = f"rediss://ecounters:{QUOTED}@{LOCAL}:{port}/0"
    here = replace(deployment, redis_url=url).with_settings(REDIS_CA=authority.ca)
    add_users(here, ["u1"])
    for command in (("user", "list"), ("session", "open", "u1")):
        exit_code, _, err = ran(here, *command)
        assert exit_code == 0, err
    with Worker(here).wait_ready() as worker:
        assert asked(worker, "u1") == 200
        assert worker.ask({"userId": "u1", "token": "wrong-wrong-wrong"}).status == 403
        worker.end()
        assert PASSWORD not in worker.log.read_text()
    assert ran(here, "user", "remove", "u1")[0] == 0
    exit_code, _, err = ran(replace(here, redis_url=url.replace(QUOTED, "secret-word")), "user", "list")
    assert (exit_code, "invalid username-password pair" in err, "secret-word" in err) == (2, True, False), err
    exit_code, _, err = ran(replace(here, settings=deployment.settings), "user", "list")
    assert exit_code == 1 and "certificate verify failed" in err, err
    server.kill()


def test_log_ins_go_on_after_a_failover(deployment: Deployment, tmp_path: Path, guard: Guard) -> None:
    """Three servers and three sentinels: the master is killed, and workers ask and change users at the new one."""
    ports, watching = free_ports(3), free_ports(3)
    common = [f"requirepass {PASSWORD!r}", f"masterauth {PASSWORD!r}", "repl-diskless-sync-delay 0"]
    client = {"password": PASSWORD}
    master = RedisServer(tmp_path / "master", ports[0], guard, common, client=client)
    follow = [*common, f"replicaof {LOCAL} {ports[0]}"]
    for port in ports[1:]:
        RedisServer(tmp_path / f"redis-{port}", port, guard, follow, client=client)
    config = [
        f"sentinel monitor users {LOCAL} {ports[0]} 2", f"sentinel auth-pass users {PASSWORD!r}",
        "sentinel down-after-milliseconds users 500", "sentinel failover-timeout users 5000",
    ]  # fmt: skip
    sentinels = [RedisServer(tmp_path / f"s-{port}", port, guard, config, sentinel=True) for port in watching]
    hosts = ",".join(f"{LOCAL}:{port}" for port in [*free_ports(1), *watching])  # the first is away
    here = replace(deployment, redis_url=f"redis+sentinel://:{QUOTED}@{hosts}/users/0")
    add_users(here, ["u1"])
    assert master.client.wait(2, 10_000) == 2
    until(lambda: all(has_company(one) for one in sentinels))
    with Worker(here.with_settings(SESSION_CACHE_S=0)).wait_ready() as worker:
        assert asked(worker, "u1") == 200
        master.kill()
        until(lambda: all(master_of(one) in ports[1:] for one in sentinels))
        add_users(here, ["u2"])
        until(lambda: (asked(worker, "u1"), asked(worker, "u2")) == (200, 200))
        worker.end()
