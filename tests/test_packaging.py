"""What is installed and what is given out: locks with hashes, an sdist of our own files alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = {
    "deploy/requirements.lock": ("build",),
    "deploy/locks/run.lock": ("build", "embedded"),
    "deploy/locks/test.lock": ("build", "embedded", "test"),
}
"""lock -> the extras of pyproject.toml that it is for."""


def locked(text: str) -> dict[str, tuple[str, int]]:
    """The packages of a lock: name -> (version, how many hashes). AssertionError for a line of another form."""
    found: dict[str, tuple[str, int]] = {}
    for entry in re.sub(r"\\\n\s*", " ", text).splitlines():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)(?: ; .*?)?((?: +--hash=sha256:[0-9a-f]{64})*) *", entry)
        assert match, entry
        found[canonicalize_name(match[1])] = match[2], match[3].count("--hash=")
    return found


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    """The dependencies in pyproject.toml, with those of some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(
    "lock", [*LOCKS, *(f"deploy/locks/{name}.lock" for name in ("java", "tools", "peers", "flink"))]
)
def test_each_locked_package_has_a_version_and_hashes(lock: str) -> None:
    """So pip refuses a file that somebody has replaced."""
    packages = locked((ROOT / lock).read_text())
    assert packages and all(hashes for _, hashes in packages.values())


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_within_the_ranges(lock: str) -> None:
    """Each dependency is in it, in a version that pyproject.toml takes; and it has the versions that are tested."""
    packages, tested = (locked((ROOT / name).read_text()) for name in (lock, "deploy/locks/test.lock"))
    for requirement in wanted(LOCKS[lock]):
        version, _ = packages[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, requirement
    assert packages.items() <= tested.items()


def test_the_checks_find_what_they_are_for() -> None:
    """A line without a hash has none, and a range or an address is no pinned version."""
    assert locked("a-b==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64) == {"a-b": ("1.0", 1)}
    assert locked("a==1.0") == {"a": ("1.0", 0)}
    for line in ("a>=1.0", "a @ https://example.com/a.whl", "-e ."):
        with pytest.raises(AssertionError):
            locked(line)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows which files are ours")
def test_an_sdist_has_our_own_files_alone(tmp_path: Path) -> None:
    """Whatever lies in the folder: environments, data, secrets. In a copy, where such things are put."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    ours = {name for name in git.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    copy = tmp_path / "copy"
    for name in ours:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name in ("venv/lib/x.py", "env311/x.py", "secrets.txt", ".env", "key.pem", "data/events.jsonl", "notes/x.md"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("not ours")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert files - ours <= {"PKG-INFO"}
    assert {"pyproject.toml", "LICENSE", "streams/web/pages/dashboard.html", "deploy/requirements.lock"} <= files
