"""Several workers with the same users: their counts, their replies, and requests as they send them to one another."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any, Final

from ecounters.simulator.world import Published
from tests.support.accounts import TOKEN, add_users
from tests.support.builders import CallScript, encoded
from tests.support.log_publisher import publish_messages
from tests.support.workers import Deployment, Worker

USERS: Final = tuple(f"u{at}" for at in range(8))
TAKEN_OVER_LIMIT_S: Final = 60.0
SECRET: Final = "a-secret-of-the-workers"


def fill(deployment: Deployment) -> None:
    """Publish a different number of calls for each user."""
    add_users(deployment, USERS)
    messages = []
    now_ms = int(time.time() * 1000)
    for at, user in enumerate(USERS):
        for call in range(at + 1):
            script = CallScript(f"c{call}", user).started(0, "IBD", did=f"1555{at}").ringing(1).answered(2)
            shift = now_ms - 60_000 - script.events[0]["ts"]
            for event in script.events:
                value = encoded({**event, "ts": event["ts"] + shift, "id": f"{user}{event['id']}"})
                messages.append(Published(0, user, value))
    asyncio.run(publish_messages(deployment, messages, 0))


def counters_request(user: str) -> dict[str, Any]:
    """The body of a request for a user's counters."""
    return {"userId": user, "token": TOKEN}


def right_replies(workers: Sequence[Worker], limit_s: float = TAKEN_OVER_LIMIT_S) -> dict[str, bytes]:
    """Each user's answer, as soon as all workers give the right one; they must in time."""
    deadline = time.monotonic() + limit_s
    while True:
        replies = {user: [worker.ask(counters_request(user)) for worker in workers] for user in USERS}
        bodies = {user: {(reply.status, reply.body) for reply in some} for user, some in replies.items()}
        if all({status for status, _ in some} == {200} for some in bodies.values()):
            counted = {user: [json.loads(body)["message"]["CNC"] for _, body in some] for user, some in bodies.items()}
            if counted == {user: [at + 1] for at, user in enumerate(USERS)}:
                return {user: body for user, ((_, body),) in bodies.items()}
        assert time.monotonic() < deadline, (bodies, [worker.log_tail() for worker in workers])
        time.sleep(0.05)


def signature_of(content: bytes, secret: str = SECRET) -> dict[str, str]:
    """The header with the signature of a request between workers."""
    return {"X-Ecounters-Signature": hmac.new(secret.encode(), content, "sha256").hexdigest()}


def signed(secret: str, at_ms: int, user: str = "u0") -> tuple[bytes, dict[str, str]]:
    """A request as a worker with that secret would send it at that time."""
    content = json.dumps({"userId": user, "zone": "UTC", "at": at_ms, "asked": {}}).encode()
    return content, signature_of(content, secret)
