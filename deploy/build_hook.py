"""Compiles the packages that every event goes through, with mypyc, while the project is installed or a wheel is built.

pip runs it, by pyproject.toml. ``python deploy/build_hook.py`` compiles in place, as an editable install does;
``--why-pure`` says why it would not.

The same source runs interpreted where there is no C compiler, or with ECOUNTERS_PURE=1 in the environment of the build.
``ecounters --version`` says which it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT: Final = Path(__file__).resolve().parent.parent
HOT: Final = (
    "ecounters/native.py",
    "ecounters/large_dict.py",
    "ecounters/events/campaigns.py",
    "ecounters/events/numbers.py",
    "ecounters/events/parse.py",
    "ecounters/events/partitioner.py",
    "ecounters/events/readers.py",
    "ecounters/calls/extras.py",
    "ecounters/calls/items.py",
    "ecounters/calls/join.py",
    "ecounters/calls/large.py",
    "ecounters/calls/lists.py",
    "ecounters/calls/record.py",
    "ecounters/calls/texts.py",
    "ecounters/changelog/entries.py",
    "ecounters/changelog/saved_call.py",
    "ecounters/counters/contributions.py",
    "ecounters/windows/calendar.py",
    "ecounters/windows/cell.py",
    "ecounters/windows/restoring.py",
    "ecounters/windows/span.py",
    "ecounters/windows/spans.py",
    "ecounters/windows/units.py",
    "ecounters/partition/changes.py",
    "ecounters/partition/emptying.py",
    "ecounters/partition/live_by_switch.py",
    "ecounters/partition/restoring.py",
    "ecounters/partition/starts.py",
    "ecounters/partition/state.py",
    "ecounters/partition/switches.py",
    "ecounters/partition/timeouts.py",
    "ecounters/partition/timer_wheel.py",
    "ecounters/partition/tombstones.py",
    "ecounters/partition/user.py",
)
"""The modules that are compiled, all of them together. msgspec and dataclasses read the annotations of their classes,
so modules with such classes are not among them."""

COMPILED_FROM: Final = ROOT / "ecounters" / ".compiled"
"""The ``digest`` of what was compiled in place."""
NOT_COMPILED: Final = "Ecounters is not compiled and will run interpreted"


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls. An editable install gets its libraries beside the sources, a wheel has them in it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before anything is packed."""
        if self.target_name != "wheel":
            return
        if version == "editable":
            compile_in_place(self.app.display_info)
            return
        target = tempfile.mkdtemp()
        try:
            made = compiled(Path(target), self.app.display_info)
            build_data["force_include"] |= {str(path): str(path.relative_to(target)) for path in made}
            if made:
                build_data["pure_python"], build_data["infer_tag"] = False, True
        except BaseException:
            shutil.rmtree(target)
            raise
        self._target = target

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled for a wheel."""
        if hasattr(self, "_target"):
            shutil.rmtree(self._target)


def compile_in_place(say: Any = print) -> None:
    """Compile beside the sources, unless what an earlier run has left there is of the same sources."""
    if not why_pure() and list(libraries()) and not stale():
        return
    for old in (*libraries(), COMPILED_FROM):
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as target:
        made_from, made = digest(), compiled(Path(target), say)
        for path in made:
            shutil.copy2(path, ROOT / path.relative_to(target))
    if made:
        COMPILED_FROM.write_text(made_from)  # last: of an install that is cut short, the libraries are taken for stale


def libraries() -> Iterator[Path]:
    """What is compiled in place."""
    return ROOT.glob("ecounters/**/*.so")


def digest() -> str:
    """A hash of all that the libraries depend on.

    That is this file, the domain, because its constants are compiled in, the kind of Python, and the version of mypy.
    """
    made_with = f"{sysconfig.get_config_var('SOABI')} {importlib.metadata.version('mypy')}"
    sources = sorted((ROOT / "ecounters").rglob("*.py"))
    content = b"".join(path.read_bytes() for path in (Path(__file__), *sources))
    return hashlib.sha256(content + made_with.encode()).hexdigest()


def stale() -> bool:
    """Whether there are libraries that were compiled from other sources than those that are there."""
    made_from = COMPILED_FROM.read_text() if COMPILED_FROM.exists() else ""
    return any(libraries()) and made_from != digest()


def compiled(target: Path, say: Any) -> list[Path]:
    """Compile HOT into ``target``. Returns the libraries; none, and says why, if it is not to be or cannot be."""
    why = why_pure()
    if why:
        say(why)
        return []
    from mypyc.build import mypycify
    from setuptools import setup

    output = io.StringIO()
    with tempfile.TemporaryDirectory() as made, working_in(ROOT), contextlib.redirect_stdout(output):
        try:
            extensions = mypycify(
                [f"--config-file={ROOT / 'pyproject.toml'}", *HOT],
                target_dir=made, group_name="ecounters.native", opt_level="2", debug_level="0",
            )  # fmt: skip
            commands = ["--quiet", "build_ext", "--build-temp", made, "--build-lib", str(target)]
            setup(name="ecounters", packages=[], ext_modules=extensions, script_args=commands)
        except (Exception, SystemExit):
            sys.stderr.write(output.getvalue())
            raise
    return sorted(target.glob("ecounters/**/*.so"))


def why_pure() -> str:
    """One line that says why nothing is compiled; "" if something is."""
    if os.environ.get("ECOUNTERS_PURE", "") not in ("", "0"):
        return f"{NOT_COMPILED}: ECOUNTERS_PURE is set"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"{NOT_COMPILED}: there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"{NOT_COMPILED}: the headers of Python are missing (Debian: python3-dev)"
    return ""


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder: mypyc takes its sources by paths from there, and their modules' names from the paths."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    if sys.argv[1:] == ["--why-pure"]:
        if why := why_pure():
            print(why)
    else:
        compile_in_place()
