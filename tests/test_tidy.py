"""Style that tests keep: a domain without input, output or clock; short files and functions; a README that is true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kill_at_step import POINTS, owner_of

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 50

DOMAIN = sorted((ROOT / "ecounters").rglob("*.py"))
SHELL = sorted((ROOT / "streams").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

NOT_IN_DOMAIN = {
    "streams",
    "faust",
    "mode",
    "aiokafka",
    "aiohttp",
    "redis",
    "prometheus_client",
    "click",
    "os",
    "asyncio",
}
"""Modules that do input or output. Code that needs one belongs into streams/."""

CLOCKS = {
    "time.time": "a `now_ms` argument",
    "time.time_ns": "a `now_ms` argument",
    "time.monotonic": "a `now_ms` argument",
    "time.perf_counter": "a measurement in streams/",
    "datetime.now": "a `now_ms` argument",
    "datetime.utcnow": "a `now_ms` argument",
    "datetime.today": "a `now_ms` argument",
    "date.today": "a `now_ms` argument",
}
"""Clock -> what to use instead."""


def relative(path: Path) -> str:
    """A path as it is shown in the name of a test."""
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports, as full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be searched for"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def clocks_in(tree: ast.AST) -> list[str]:
    """Uses of a clock, by attribute or imported by name."""
    used = [dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used += imports(tree)
    return [name for name in used if any(name == clock or name.endswith("." + clock) for clock in CLOCKS)]


def long_functions(tree: ast.AST) -> list[str]:
    """Functions of more than the allowed lines."""
    return [
        f"{node.name}: {(node.end_lineno or node.lineno) - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


@pytest.mark.parametrize("path", DOMAIN, ids=relative)
def test_the_domain_imports_no_input_or_output(path: Path) -> None:
    """Nothing of the shell, of a network or of the environment is imported by ecounters/."""
    wrong = [name for name in imports(parsed(path)) if name.split(".")[0] in NOT_IN_DOMAIN]
    assert not wrong, f"{relative(path)} imports {wrong}: that belongs into streams/"


@pytest.mark.parametrize("path", DOMAIN, ids=relative)
def test_the_domain_has_no_clock(path: Path) -> None:
    """Time is an argument in ecounters/, so that a log read again gives the same counters."""
    assert not clocks_in(parsed(path)), f"{relative(path)}: use instead {CLOCKS}"


RECOUNT = "ecounters.recount"


def across(path: Path, tree: ast.AST) -> list[str]:
    """Imports from the recount to the rest of the domain, or back."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    inside = f"{module}.".startswith(f"{RECOUNT}.")
    domain = [name for name in imports(tree) if name.split(".")[0] == RECOUNT.split(".")[0]]
    return [name for name in domain if f"{name}.".startswith(f"{RECOUNT}.") is not inside]


@pytest.mark.parametrize("path", DOMAIN, ids=relative)
def test_the_recount_and_the_rest_of_the_domain_share_nothing(path: Path) -> None:
    """A recount that used what it is to check, or the other way round, would find the same mistakes right."""
    assert not across(path, parsed(path)), f"{relative(path)}: the recount stands alone"


@pytest.mark.parametrize("path", [*DOMAIN, *SHELL, *TESTS], ids=relative)
def test_files_and_functions_are_short(path: Path) -> None:
    """A file has at most 350 lines, a function at most 50, whatever is in them."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES_MAX, f"{relative(path)} has {lines} lines: split it by what changes together"
    assert not long_functions(parsed(path)), relative(path)


def missing_tests(text: str) -> list[str]:
    """Tests that a text names as `folder/file.py::test` and that are not there. The folder is below tests/."""
    named = re.findall(r"`(?:tests/)?([\w/]+\.py)::(\w+)", text)
    return [
        f"{name}::{test}"
        for name, test in named
        if not (ROOT / "tests" / name).exists()
        or not re.search(
            rf"^(?:async )?def {test}\(", (ROOT / "tests" / name).read_text(encoding="utf-8"), re.MULTILINE
        )
    ]


def test_each_test_that_the_readme_of_the_tests_names_exists() -> None:
    """A promise whose test was renamed or removed would look held."""
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    assert text.count("::test_") > 50
    assert not missing_tests(text)


@pytest.mark.parametrize("name", POINTS)
def test_each_step_at_which_workers_are_killed_exists(name: str) -> None:
    """A step whose function was renamed would end the worker by an error and not by a kill, in the long runs only."""
    owner, function = owner_of(POINTS[name])
    assert callable(getattr(owner, function))


def test_the_checks_see_what_they_are_for() -> None:
    """Each check finds a planted fault; one that finds nothing anywhere proves nothing."""
    tree = ast.parse("import time\nfrom time import monotonic\nimport datetime\nimport redis.asyncio\n")
    assert "redis.asyncio" in list(imports(tree))
    assert clocks_in(tree) == ["time.monotonic"]
    assert clocks_in(ast.parse("x = datetime.datetime.now(UTC)")) == ["datetime.datetime.now"]
    assert clocks_in(ast.parse("x = time.time()")) == ["time.time"]
    recount, state = ROOT / "ecounters" / "recount" / "call.py", ROOT / "ecounters" / "partition" / "state.py"
    assert across(recount, ast.parse("from ecounters.windows import day_of\nfrom ecounters.recount.parse import x"))
    assert across(recount, ast.parse("from ecounters import windows")) == ["ecounters.windows"]
    assert across(state, ast.parse("from ecounters import recount\nimport ecounters.text")) == ["ecounters.recount"]
    assert across(recount, ast.parse("from ecounters.recount.parse import x\nimport json")) == []
    known = "`test_tidy.py::test_the_domain_has_no_clock`, `tests/test_layers.py::test_there_is_no_circle`"
    assert missing_tests(f"{known} `test_tidy.py::test_nothing`") == ["test_tidy.py::test_nothing"]
    assert missing_tests("`unit/test_gone.py::test_it`") == ["unit/test_gone.py::test_it"]
    assert long_functions(ast.parse("def f():\n" + "    x = 1\n" * 50)) == ["f: 51 lines"]
    assert not long_functions(ast.parse("def f():\n" + "    x = 1\n" * 49))
