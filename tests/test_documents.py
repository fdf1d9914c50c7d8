"""What the documents say exists: links, paths, names, settings, commands, examples; and tables follow the code."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from ecounters.counters.definitions import COUNTERS
from ecounters.errors import REASONS
from ecounters.events.fields import FIELDS
from streams.cli import cli
from streams.settings.table import SETTINGS
from tests.support.builders import T0_MS, Feed, event
from tests.support.readme import DOCUMENTS, rendered

ROOT = Path(__file__).parent.parent
TOPS = ("ecounters", "streams", "tests", "deploy", ".github")
README_LINES_MAX = 180

FILES = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for top in TOPS for path in (ROOT / top).rglob("*.md") if "node_modules" not in path.parts),
    ]
)
CODE = sorted(path for top in ("ecounters", "streams", "tests") for path in (ROOT / top).rglob("*.py"))


def relative(path: Path) -> str:
    """A path as it is shown in a test's name."""
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """A document without its fenced blocks: drawings and examples may name what does not exist yet."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment under which GitHub shows a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links(text: str) -> list[str]:
    """The targets of links and pictures that are in this repository."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if not re.match(r"[a-z]+:", link)]


def broken(document: Path, text: str) -> list[str]:
    """Links of a document that lead to no file, or to no heading of it."""
    found = []
    for link in links(text):
        name, _, fragment = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists():
            found.append(link)
        elif fragment:
            headings = re.findall(r"^#+ (.*)$", prose(target.read_text(encoding="utf-8")), re.MULTILINE)
            if fragment not in map(anchor, headings):
                found.append(link)
    return found


def missing_paths(document: Path, text: str) -> list[str]:
    """Paths in backticks that are not there, from the root or beside the document."""
    tops = "|".join(map(re.escape, TOPS))
    named = re.findall(rf"`((?:{tops})/[^`\s*]*|[\w./-]+\.(?:py|md|toml|lock|js|xml))`", prose(text))
    return [name for name in named if not any((place / name).exists() for place in (ROOT, document.parent))]


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a Python file defines: functions, classes, their methods and fields, and what is assigned at its top."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            found.update(ast.unparse(target).removeprefix("self.") for target in targets)
        if isinstance(node, ast.ClassDef):
            members = [m for m in ast.walk(node) if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
            found.update(f"{node.name}.{member.name}" for member in members)
    return frozenset(found)


def missing_names(text: str) -> list[str]:
    """Code names that nothing defines: "`name` in `path`", and classes and their methods wherever they are named."""
    found = []
    for name, place in re.findall(r"`([\w.]+)` in\s+`([\w/.]+)`", prose(text)):
        files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
        python = re.sub(r"(?<=[a-z])([A-Z])", lambda m: "_" + m[0].lower(), name) if name[0].islower() else name
        if not any({name, python} & names_in(path) for path in files if path.exists()):
            found.append(f"{name} in {place}")
    everywhere = frozenset[str]().union(*map(names_in, CODE))
    classes = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+(?:\.\w+)?|[A-Z][a-z]+\.[a-z_]+)`", prose(text))
    return found + [name for name in classes if name not in everywhere]


def commands(group: click.Group, prefix: str = "ecounters") -> Iterator[str]:
    """All commands as they are typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


COMMANDS = list(commands(cli))


@cache
def everything() -> str:
    """The text of all documents but the changelog, which tells of the past."""
    return "\n".join(path.read_text(encoding="utf-8") for path in FILES if path.name != "CHANGELOG.md")


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link leads to a file that is there and, with a fragment, to a heading of it."""
    assert not broken(path, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "CHANGELOG.md"], ids=relative)
def test_paths_and_names_exist(path: Path) -> None:
    """A file, a folder, a class or a function that a document names in backticks is there."""
    text = path.read_text(encoding="utf-8")
    assert not missing_paths(path, text)
    assert not missing_names(text)


def test_the_readme_is_short() -> None:
    """What a stranger reads first has at most 180 lines; the rest stands in the rooms."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES_MAX


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_those_of_the_code(document: str) -> None:
    """Counters, events, errors, settings and metrics: `python -m tests.support.readme` writes them."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text == rendered(document, text)


@pytest.mark.parametrize("name", [row.env for row in SETTINGS])
def test_every_setting_is_documented(name: str) -> None:
    """A setting that is in no document is not known to exist."""
    assert re.search(rf"\b{name}\b", everything()), f"no document says what {name} is"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """So it is with commands."""
    assert re.search(rf"\b{name}\b", everything()), f"no document says what `{name}` does"


def test_every_counter_is_not_zero_in_the_example() -> None:
    """The example of the counters shows something of each one."""
    text = (ROOT / "ecounters/counters/README.md").read_text(encoding="utf-8")
    rows = [re.split(r" ?(?<!\\)\| ?", line) for line in text.splitlines() if line.startswith("| `")]
    values = {row[1].strip("`"): row[4].strip("`") for row in rows}
    assert set(values) >= set(COUNTERS)
    assert [key for key in COUNTERS if values[key] in ("0", "{}")] == []


def test_every_field_of_events_is_described() -> None:
    """The two tables of fields have each field once, and no others."""
    text = (ROOT / "ecounters/events/README.md").read_text(encoding="utf-8")
    tables = re.findall(r"^#+ Fields of .*?\n(\|.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    described = [
        name
        for table in tables
        for row in table.splitlines()
        for name in re.findall("`(.*?)`", row[: row.index(" | ")])
    ]
    assert sorted(described) == sorted([*FIELDS, "type"])


def calls_in(text: str) -> list[list[bytes]]:
    """The lines of each block of JSON lines in a document."""
    blocks = re.findall(r"^```jsonl\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block.encode().splitlines() for block in blocks]


@pytest.mark.parametrize("document", ["README.md", "ecounters/events/README.md"])
def test_the_whole_call_is_counted(document: str) -> None:
    """The events of the documents' call are valid, and the counters are those that the document says."""
    text = (ROOT / document).read_text(encoding="utf-8")
    (lines,) = calls_in(text)
    feed = Feed()
    assert feed.refused_bytes(lines, [T0_MS + 200_000] * len(lines)) == []
    answer = feed.answer()
    assert (answer["TC"], answer["CNC"], answer["CST"]) == (1, 1, {"16": 1})
    for reply in re.findall(r'`("CT":.*?)`', text):
        assert json.loads("{" + reply + "}").items() <= answer.items()


def test_the_checks_see_what_they_are_for() -> None:
    """Each check finds a planted fault; one that finds nothing anywhere proves nothing."""
    here = ROOT / "README.md"
    assert broken(here, "[a](README.md) [b](nothing.md) [c](README.md#ecounters) [d](README.md#nothing)") == [
        "nothing.md",
        "README.md#nothing",
    ]
    assert missing_paths(here, "`tests/test_documents.py` `tests/nothing.py` `streams/nothing/` `table.py`") == [
        "tests/nothing.py",
        "streams/nothing/",
        "table.py",
    ]
    assert missing_paths(ROOT / "streams/settings/README.md", "`table.py`") == []
    assert missing_names("`Nothing` in `tests/test_documents.py`, `broken` in `tests/test_documents.py`") == [
        "Nothing in tests/test_documents.py"
    ]
    assert missing_names("`PartitionState` `PartitionStat` `LazyGroup.get_command` `LazyGroup.nothing`") == [
        "PartitionStat",
        "LazyGroup.nothing",
    ]
    assert "ecounters user add" in COMMANDS and "ecounters worker" in COMMANDS
    assert "late" in REASONS and Feed().refused(event("call.nothing", 0)) == [("unknown_type", "type")]
