"""Build the sdist and the wheel, and try the wheel in a clean environment on each supported Python of this machine.

    python -m tests.support.wheel_check            # as `make wheel-check` does

In each environment the locked versions are installed, with their hashes, then the wheel alone; every module of the
wheel must be importable, and the command line must run. The exit code is 1 if anything fails or no Python was found.
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


def build(folder: Path) -> Path:
    """Build sdist and wheel from the working tree, the wheel from the sdist's content. Returns the wheel's path."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)], ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder, filter="data")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], folder / sdist.name[:-7])
    (wheel,) = folder.glob("*.whl")
    return wheel


def try_on(python: Path, wheel: Path, folder: Path) -> None:
    """Install the wheel in a new environment of this Python and use it there. Raises CalledProcessError."""
    run([str(python), "-m", "venv", str(folder)], ROOT)
    own = str(folder / "bin" / "python")
    quiet = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*quiet, "--require-hashes", "-r", str(LOCK)], folder)
    run([*quiet, "--no-deps", str(wheel)], folder)
    run([own, "-m", "pip", "check"], folder)
    run([own, "-W", "error::SyntaxWarning", "-c", IMPORT_ALL, *modules(wheel)], folder)
    for arguments in (["--version"], ["settings"], ["worker", "--help"]):
        run([str(folder / "bin" / "ecounters"), *arguments], folder)


def modules(wheel: Path) -> list[str]:
    """The names of all modules in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        paths = [Path(name) for name in archive.namelist() if name.endswith(".py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder, outside of the sources. Prints what it said if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ECOUNTERS_"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr)
        done.check_returncode()


def main() -> int:
    """Build, try on each Python, and say what was tried."""
    tried = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        print(f"{wheel.name}: {len(modules(wheel))} modules, {wheel.stat().st_size:,} bytes")
        for python in pythons():
            try_on(python, wheel, folder / f"env{tried}")
            tried += 1
            said = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
            print(f"{said.stdout.strip()}: installed by its hashes, imported, run")
    return 0 if tried else 1


if __name__ == "__main__":
    sys.exit(main())
