"""Replies over HTTP: the vendor's sample, credentials, errors, and what bad messages do to them."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.recount_check import DeadLetter, dead_letters, expected_dead_letters, recounts
from tests.support.replies import DOCUMENTED_HEADERS
from tests.support.topics import wait_until_flushed
from tests.support.workers import PATH, Deployment, Worker

SAMPLE = (
    b'{"message":{"LCT":{},"RCMPID":{},"RC":0,"LIVR":{},"LDID":{},"cBl":0,"CT":{"CTC":2},"CST":{"3":1,"6":1},'
    b'"CMPID":{},"DID":{},"DTMF":{},"DTMFV":{},"DTMFI":{},"DTMFINV":{},"GHC":0,"FWC":0,"TRSC":2,"MC":0,"ucBl":0,'
    b'"TC":2,"repeatCall":0,"freshCall":2,"CHSR":0,"CNC":2},"status":"success"}'
)
SAMPLE_ETAG = 'W/"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk"'


def test_the_vendors_sample_comes_out_byte_for_byte(deployment: Deployment) -> None:
    """Two click-to-call calls, one with a missed second leg, give the vendor's body, ETag and headers."""
    add_users(deployment, ["sample"])
    first = RecentCall("c1", "sample").started(0, "CTC", number="+15550000001").ringing(1, "1").answered(3, "1")
    first.dialed(4, "2").ringing(5, "2").answered(7, "2").add("call.transferred", 8, to="a2").ended(20, 3)
    second = RecentCall("c2", "sample").started(1, "CTC", number="+15550000002").ringing(2, "1").answered(4, "1")
    second.dialed(5, "2").ringing(6, "2").leg_ended(15, "2").add("call.transferred", 16, to="a3").ended(22, 6)
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "sample", *first.values(), *second.values())
        wait_for_counter(worker, "sample", "CST", {"3": 1, "6": 1})
        for path in (PATH, "/deepcall" + PATH):
            reply = worker.request("POST", path, {"userId": "sample", "token": TOKEN})
            assert (reply.status, reply.body, reply.headers["ETag"]) == (200, SAMPLE, SAMPLE_ETAG)
            assert {name: reply.headers[name] for name in DOCUMENTED_HEADERS} == DOCUMENTED_HEADERS
            assert reply.headers["Content-Length"] == "282"
        for tag in (SAMPLE_ETAG, f'"x", {SAMPLE_ETAG}', SAMPLE_ETAG[:-1] + '-gzip"', "*"):
            again = worker.ask({"userId": "sample", "token": TOKEN}, {"If-None-Match": tag})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", SAMPLE_ETAG)
        assert worker.ask({"userId": "sample", "token": TOKEN}, {"If-None-Match": '"x"'}).status == 200


def test_a_session_or_a_token_opens_the_account_and_all_else_gets_1015(deployment: Deployment, worker: Worker) -> None:
    """A session, a token, or both that agree give 200; all wrong credentials get the same words."""
    ssid = open_session(deployment)
    good: list[dict[str, Any]] = [
        {"ssid": ssid},
        {"userId": "u1", "token": TOKEN},
        {"ssid": ssid, "userId": "u1", "token": TOKEN},
    ]
    for body in good:
        assert worker.ask(body).status == 200
    wrong: list[dict[str, Any]] = [
        {"ssid": "x"},
        {"userId": "u1", "token": "x"},
        {"userId": "u1"},
        {"userId": "nobody", "token": TOKEN},
        {"ssid": ssid, "userId": "u2", "token": TOKEN},
    ]
    told = {worker.ask(body).body for body in wrong}
    assert told == {b'{"status":"error","message":"Permission denied","code":1015}'}
    assert {worker.ask(body).status for body in wrong} == {403}
    out = worker.ask({"ssid": open_session(deployment, agent="ann", logged_in=False)})
    assert (out.status, out.json) == (403, {"status": "error", "message": "Agent is not logged in", "code": 1043})


@pytest.mark.parametrize(
    ("body", "status", "code", "begins"),
    [
        (b"", 400, 1000, "Invalid parameter: the body is empty"),
        (b"{", 400, 1000, "Invalid parameter: the body is not JSON"),
        (b"[]", 400, 1000, "Invalid parameter: the body is not a JSON object"),
        (b" " * 70_000, 413, 1000, "Invalid parameter: the body"),
        (b'{"ssid":1}', 400, 1001, "Invalid data type: ssid must be a string"),
        (b"{}", 400, 1002, "UserId not provided"),
        (b'{"ssid":"x","x":1}', 400, 1000, 'Invalid parameter: unknown parameter "x"'),
        (b'{"ssid":"x","Field":["XX"]}', 400, 1000, 'Invalid parameter: Field[0] "XX"'),
        (b'{"ssid":"x","filter":[{"field":"dids","value":"1"}]}', 400, 1000, "Invalid parameter: filter[0].field"),
    ],
)
def test_a_wrong_request_gets_an_error_that_names_the_place(
    worker: Worker, body: bytes, status: int, code: int, begins: str
) -> None:
    """Each wrong body gets its code and a text that names what is wrong, with the documented headers."""
    reply = worker.request("POST", PATH, body)
    assert (reply.status, reply.json["status"], reply.json["code"]) == (status, "error", code)
    assert reply.json["message"].startswith(begins)
    assert {name: reply.headers[name] for name in DOCUMENTED_HEADERS} == DOCUMENTED_HEADERS


def test_options_get_other_methods_and_unknown_paths(worker: Worker) -> None:
    """OPTIONS gets 204, other methods 405 with Allow, and unknown paths 404 in the same form."""
    options = worker.request("OPTIONS", PATH)
    assert (options.status, options.body) == (204, b"")
    assert options.headers["Access-Control-Allow-Methods"] == DOCUMENTED_HEADERS["Access-Control-Allow-Methods"]
    wrong = worker.request("GET", PATH)
    assert (wrong.status, wrong.headers["Allow"], wrong.json["status"]) == (405, "OPTIONS, POST", "error")
    missing = worker.request("GET", "/nowhere")
    assert (missing.status, missing.json["status"]) == (404, "error")
    assert worker.request("GET", "/healthz").status == 200


def test_bad_messages_become_dead_letters_and_change_no_counter(deployment: Deployment, worker: Worker) -> None:
    """Each bad message is a dead letter byte for byte, with its reason and field."""
    call = RecentCall("c1", "u1").started(0, "IBD", did="1555").ringing(1).answered(2)
    publish_values(deployment, "u1", *call.values())
    before = wait_for_counter(worker, "u1", "CNC", 1).body
    now = int(time.time() * 1000)

    def event(**fields: object) -> bytes:
        made = {"id": "x", "type": "call.started", "ts": now, "userId": "u1", "callId": "c2", "callType": "IBD"}
        return json.dumps({**made, **fields}).encode()

    bad: dict[bytes | None, tuple[str, str]] = {
        None: ("empty", ""),
        b"": ("empty", ""),
        b"{": ("not_json", ""),
        b"\xff\xfe": ("not_json", ""),
        b"[1]": ("not_object", ""),
        event(id=""): ("empty_id", "id"),
        event(id=7): ("wrong_type", "id"),
        event(type="call.sung"): ("unknown_type", "type"),
        event(callId=None): ("missing", "callId"),
        event(callType="XXX"): ("bad_value", "callType"),
        event(ts=17): ("bad_ts", "ts"),
        event(ts=now + 600_000): ("clock_ahead", "ts"),
        event(ts=now - 3_600_000): ("late", "ts"),
        event(did="x" * 66_000): ("too_large", ""),
        event(switchId="x" * 200): ("too_long", "switchId"),
    }
    publish_values(deployment, "u1", *bad)
    wait_until_flushed(deployment)
    counted = recounts(deployment)
    letters = dead_letters(deployment)
    assert letters == expected_dead_letters(deployment, counted)
    assert [_told(letter) for letter in letters] == [(value, *why) for value, why in bad.items()]
    assert worker.metric("ecounters_events_refused_total") == len(bad)
    assert worker.ask({"userId": "u1", "token": TOKEN}).body == before


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_counted(deployment: Deployment, worker: Worker, codec: str) -> None:
    """Events of batches compressed with each of Kafka's codecs are counted."""
    calls = [RecentCall(f"c{at}", "u1").started(0, "IBD", did="1555").ringing(1).answered(2) for at in range(20)]

    async def send() -> None:
        # All in one batch: aiokafka leaves a batch of one small message uncompressed.
        async with AIOKafkaProducer(
            bootstrap_servers=deployment.broker, compression_type=codec, linger_ms=100
        ) as producer:
            where = partition_of("u1", deployment.partitions)
            for value in (value for call in calls for value in call.values()):
                await producer.send(deployment.name, value, key=b"u1", partition=where)

    asyncio.run(send())
    wait_for_counter(worker, "u1", "CNC", 20)
    publish_values(
        deployment, "u1", *RecentCall("c20", "u1").started(0, "IBD", did="1555").ringing(1).answered(2).values()
    )
    wait_for_counter(worker, "u1", "CNC", 21)


def _told(letter: DeadLetter) -> tuple[bytes | None, str, str]:
    _, _, reason, name, value = letter
    return value, reason, name


def test_any_content_type_is_accepted(worker: Worker) -> None:
    """The body is read as JSON whatever its Content-Type says, as the vendor's clients need it."""
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "application/json"):
        headers = {} if kind is None else {"Content-Type": kind}
        assert worker.ask({"userId": "u1", "token": TOKEN}, headers).status == 200


def test_a_malformed_request_does_not_disturb_the_next(worker: Worker) -> None:
    """An empty Content-Length, as the vendor's samples send it, gets 400, and the next request 200."""
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=5)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Length", "")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()
    assert worker.ask({"userId": "u1", "token": TOKEN}).status == 200
