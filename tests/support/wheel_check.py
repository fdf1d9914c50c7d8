"""Build the sdist, and a wheel for each supported Python of this machine; try each in a clean environment.

    python -m tests.support.wheel_check            # as `make wheel-check` does

In each environment the locked versions are installed, with their hashes; the wheel is built there from the sdist's
content, with what the packages that every event goes through are compiled to, and installed. Every module of the wheel
must be importable, and the command line must run. The last wheel is one without compiled packages, for any Python. What
was built is in ``dist``. The exit code is 1 if anything fails or no Python was found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
MINORS: Final = (11, 12, 13, 14)
"""The supported versions of Python 3: those of the classifiers in pyproject.toml."""
LOCK: Final = ROOT / "deploy" / "requirements.lock"
DIST: Final = ROOT / "dist"
IMPORT_ALL: Final = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def pythons() -> Iterator[Path]:
    """The supported Pythons of this machine, by PATH and in pyenv's folder; one of each version."""
    for minor in MINORS:
        versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        on_path = shutil.which(f"python3.{minor}")
        found = [*([Path(on_path)] if on_path else []), *versions.glob(f"3.{minor}.*/bin/python")]
        for path in found:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            # A shim of pyenv says nothing if its version is not chosen.
            if said.stdout.startswith(f"Python 3.{minor}."):
                yield path
                break
        else:
            print(f"Python 3.{minor}: not on this machine, not tried")


def sources(folder: Path) -> Path:
    """Build the sdist from the working tree into DIST, and unpack it. Returns the folder of its content."""
    shutil.rmtree(DIST, ignore_errors=True)
    run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(DIST)], ROOT)
    (sdist,) = DIST.glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder, filter="data")
    return folder / sdist.name[:-7]


def try_on(python: Path, content: Path, folder: Path, *, build: str) -> Path:
    """Build the wheel in a new environment of this Python, and use it there. ``build``: "compiled" or "pure".

    Returns the wheel. Raises CalledProcessError.
    """
    run([str(python), "-m", "venv", str(folder)], ROOT)
    own = str(folder / "bin" / "python")
    quiet = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*quiet, "--require-hashes", "-r", str(LOCK)], folder)
    run([own, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], content, pure=build == "pure")
    (wheel,) = folder.glob("*.whl")
    run([*quiet, "--no-deps", str(wheel)], folder)
    run([own, "-m", "pip", "check"], folder)
    run([own, "-W", "error::SyntaxWarning", "-c", IMPORT_ALL, *modules(wheel)], folder)
    for arguments in (["settings"], ["worker", "--help"]):
        run([str(folder / "bin" / "ecounters"), *arguments], folder)
    said = run([str(folder / "bin" / "ecounters"), "--version"], folder)
    assert said.rstrip().endswith(f", {build}"), said
    return Path(shutil.copy(wheel, DIST))


def modules(wheel: Path) -> list[str]:
    """The names of all modules in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        paths = [Path(name) for name in archive.namelist() if name.endswith(".py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)


def run(command: list[str], folder: Path, *, pure: bool = False) -> str:
    """Run a command in a folder, outside of the sources; returns its output. Prints what it said if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ECOUNTERS_"))}
    environment |= {"ECOUNTERS_PURE": "1"} if pure else {}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr)
        done.check_returncode()
    return done.stdout


def main() -> int:
    """Build and try on each Python, and say what was tried."""
    found = list(pythons())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = sources(folder)
        for number, python in enumerate([*found, *found[:1]]):
            build = "compiled" if number < len(found) else "pure"
            wheel = try_on(python, content, folder / f"env{number}", build=build)
            size = f"{len(modules(wheel))} modules, {wheel.stat().st_size:,} bytes"
            print(f"{run([str(python), '--version'], folder).strip()}: {wheel.name}, {size}: installed, imported, run")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
