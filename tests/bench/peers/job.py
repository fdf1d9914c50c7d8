"""What an engine's process is told, and what it tells the bench: a few files in a folder. Only the standard library.

The environment variable PEER_JOB has the job as JSON. The process writes these files into ``Job.folder``:

    began         when it had got its first ``Job.warm_up`` events, as time.time()
    ended         when it has counted the last one, as time.time()
    results.json  "user|window" -> counter -> n, if the bench cannot read the counters anywhere else

The last event of each partition is an end mark: a ``balance.updated`` with the id END. No counter reads it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

VARIABLE: Final = "PEER_JOB"
BEGAN: Final = "began"
ENDED: Final = "ended"
RESULTS: Final = "results.json"
END: Final = "end"
SESSION_MS: Final = 6_000
"""Session timeout of all consumer groups: the group waits for it after a kill."""


class Job(NamedTuple):
    """The work of one engine.

    broker      Apache Kafka, host:port
    topic       the events; each partition ends with an end mark
    output      a topic for counters, of one partition, for the engines whose documentation reads them there
    group       consumer group or application id, new for each measurement
    partitions  of the topic of events
    events      messages in the topic, with end marks; 0 if they are still being published
    warm_up     so many events are counted before the measurement begins
    folder      for the files above, and for what the engine keeps on disk
    port        for HTTP, for the engines that serve their counters
    redis       URL of a Redis
    guarantee   of Kafka Streams and Quix Streams: at_least_once or exactly_once
    """

    broker: str
    topic: str
    output: str
    group: str
    partitions: int
    events: int
    warm_up: int
    folder: str
    port: int
    redis: str
    guarantee: str


def given_job() -> Job:
    """The job of this process."""
    return Job(**json.loads(os.environ[VARIABLE]))


class Marks:
    """Tells the bench when counting began and ended."""

    def __init__(self, job: Job) -> None:
        self._folder = Path(job.folder)
        self._left = job.partitions
        self._seen: set[str] = set()
        self._warm_up = job.warm_up

    def see(self, events: int = 1) -> None:
        """Note that events have arrived, and say so if they are the first ones after the warm-up."""
        if self._warm_up >= 0:
            self._warm_up -= events
            if self._warm_up < 0:
                self._write(BEGAN, str(time.time()))

    def is_end(self, event: Mapping[str, Any]) -> bool:
        """Whether the event is the last end mark that was missing. It may be any event."""
        if event["id"] != END or event["userId"] in self._seen:
            return False
        self._seen.add(event["userId"])
        return len(self._seen) == self._left

    def end(self) -> None:
        """Say that all events are counted."""
        self._write(ENDED, str(time.time()))

    def results(self, cells: Mapping[str, Mapping[str, int]]) -> None:
        """Give the counters: "user|window" -> counter -> n."""
        self._write(RESULTS, json.dumps(cells))

    def _write(self, name: str, text: str) -> None:
        """Write a file that appears as a whole."""
        partial = self._folder / f"{name}.partial"
        partial.write_text(text)
        partial.rename(self._folder / name)
