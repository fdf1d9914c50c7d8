"""The order of the packages: a package imports only packages below it, and no import is hidden."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "ecounters.text",
    "ecounters.errors",
    "ecounters.native",
    "ecounters.large_dict",
    "ecounters.events",
    "ecounters.windows",
    "ecounters.calls",
    "ecounters.counters",
    "ecounters.changelog",
    "ecounters.partition",
    "ecounters.query",
    "ecounters.reports",
    "ecounters.simulator",
    "ecounters.recount",
    "streams.basics",
    "streams.settings",
    "streams.metrics",
    "streams.kafka",
    "streams.access",
    "streams.engine",
    "streams.web",
    "streams.local",
    "streams.app",
    "streams.worker",
    "streams.tools",
    "streams.commands",
    "streams.cli",
)
"""From the ground up. A package or module imports only what stands before it here, and its own modules."""

FILES = sorted(path for top in ("ecounters", "streams") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAY_IMPORT = {"ecounters": {"ecounters"}, "streams": {"ecounters", "streams"}}
"""top package -> the project's top packages that its files may import."""


def module_of(path: Path) -> str:
    """The module of a file; the package, for an ``__init__``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = frozenset(map(module_of, FILES))


def room_of(module: str) -> str:
    """The room of a module: its first two names; "" for the two top packages."""
    return ".".join(module.split(".")[:2]) if "." in module else ""


def imported(tree: ast.AST) -> Iterator[str]:
    """The project's own modules that a file imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute: a relative one would not be seen by these tests"
            inner = [f"{node.module}.{name.name}" for name in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("ecounters", "streams", "tests"))


def upward(module: str, tree: ast.AST) -> list[str]:
    """Imports from rooms that are not below the module's own."""
    room = room_of(module)
    below = ROOMS[: ROOMS.index(room)] if room else ()
    return [name for name in imported(tree) if room_of(name) not in (*below, room)]


def outside(module: str, tree: ast.AST) -> list[str]:
    """Imports of a top package that the module's own top package must not know."""
    allowed = MAY_IMPORT[module.split(".")[0]]
    return [name for name in imported(tree) if name.split(".")[0] not in allowed]


def of_test_modules(tree: ast.AST) -> list[str]:
    """Imports of modules that hold tests or fixtures, wherever the import stands."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and re.search(r"\b(test_\w+|conftest)$", str(node.module)):
            names.append(str(node.module))
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{name.name}" for name in node.names]
    return [name for name in names if re.fullmatch(r"tests\.(.+\.)?(test_\w+|conftest)", name)]


def hidden(tree: ast.AST) -> list[str]:
    """Imports that are not at the top of the file, and uses of TYPE_CHECKING, which hides a circle."""
    top = {id(node) for node in ast.iter_child_nodes(tree)}
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in top)
        or (isinstance(node, ast.Name | ast.Attribute) and "TYPE_CHECKING" in ast.unparse(node))
    ]


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_packages_below_it(path: Path) -> None:
    """Each file imports what stands before its own room in ROOMS, or what is in it."""
    found = upward(module_of(path), parsed(path))
    assert not found, f"{module_of(path)} imports {found}, which are not below {room_of(module_of(path))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_domain_knows_no_shell_and_neither_knows_the_tests(path: Path) -> None:
    """No file of ecounters imports streams, and no file of either imports tests."""
    assert not outside(module_of(path), parsed(path))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_module_is_imported(path: Path) -> None:
    """What several test modules use is in tests/support, so that a test file can be moved, split or run alone."""
    assert not of_test_modules(parsed(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stand_at_the_top(path: Path) -> None:
    """No import is inside a function or behind TYPE_CHECKING: both hide what a file needs."""
    assert not hidden(parsed(path))


def test_there_is_no_circle() -> None:
    """Inside of a room, too, no two files import one another, however far around."""
    graph = {module_of(path): set(imported(parsed(path))) - {module_of(path)} for path in FILES}
    TopologicalSorter(graph).prepare()


def test_every_room_is_there() -> None:
    """A room that is in the list alone, or in the tree alone, would not be tried."""
    assert {room_of(module) for module in MODULES} - {""} == set(ROOMS)


def test_the_checks_find_what_they_are_for() -> None:
    """Each check finds a planted fault; one that finds nothing anywhere proves nothing."""
    up = ast.parse("from streams.engine.table import StateTable\nfrom ecounters.errors import Stop\n")
    assert upward("streams.kafka.consumer", up) == ["streams.engine.table"]
    assert upward("streams.engine.agent", up) == []
    assert upward("ecounters.windows.cell", ast.parse("from ecounters import partition")) == ["ecounters.partition"]
    assert upward("streams.app", ast.parse("import tests.support")) == ["tests.support"]
    assert outside("ecounters.text", ast.parse("import streams.cli")) == ["streams.cli"]
    assert outside("streams.cli", ast.parse("from tests.support import readme\nimport ecounters")) == ["tests.support"]
    assert of_test_modules(ast.parse("from tests.unit.kafka.test_group import x")) == ["tests.unit.kafka.test_group"]
    assert of_test_modules(ast.parse("def f():\n    import tests.conftest\n")) == ["tests.conftest"]
    assert of_test_modules(ast.parse("from tests.unit import test_x")) == ["tests.unit.test_x"]
    assert not of_test_modules(ast.parse("from tests.support.builders import call\nimport test_x"))
    assert hidden(ast.parse("def f():\n    import json\n")) == ["import json"]
    assert hidden(ast.parse("if TYPE_CHECKING:\n    from x import y\n")) == ["TYPE_CHECKING", "from x import y"]
    assert not hidden(ast.parse("import json\nfrom x import y\n"))
    with pytest.raises(AssertionError, match="absolute"):
        list(imported(ast.parse("from ..engine import status")))
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()
