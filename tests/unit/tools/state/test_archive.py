"""The file of an exported state: whole, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.errors import Stop
from streams.tools.state import archive
from streams.tools.state.archive import VERSION, ArchiveWriter, Header, Size, read_archive

LOG = EventsLog("cluster", "events", "0" * 32, 3)
CONTENT: dict[int, dict[bytes, bytes]] = {
    0: {b"k%d" % at: b"v" * at for at in range(500)},
    2: {b"p": b"position", b"empty": b""},
}


def header(version: int = VERSION) -> Header:
    """The header of a file of three partitions."""
    return Header(version, 2, "1.0", "2026-03-01T09:00:00Z", Binding(LOG, ""))


def written(path: Path, version: int = VERSION) -> list[Size]:
    """Write a file, and return its sizes."""
    with ArchiveWriter(path, header(version)) as writer:
        for partition, entries in CONTENT.items():
            writer.add(partition, list(entries), list(entries.values()))
        return writer.finish()


def test_a_file_gives_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many frames as there are, with the size of each partition."""
    monkeypatch.setattr(archive, "CHUNK_BYTES", 1_000)
    sizes = written(tmp_path / "state")
    read = read_archive(tmp_path / "state")
    assert read.header == header()
    assert read.sizes == sizes
    assert [size.entries for size in sizes] == [500, 0, 2]
    assert sizes[2].bytes == len(b"ppositionempty")
    for partition in range(3):
        lists = list(read.entries(partition))
        found = [entry for keys, values in lists for entry in zip(keys, values, strict=True)]
        assert dict(found) == CONTENT.get(partition, {})
        assert len(lists) > 50 or partition


def test_two_files_of_one_state_have_one_name(tmp_path: Path) -> None:
    """And a file of another state another."""
    written(tmp_path / "one")
    written(tmp_path / "two")
    assert read_archive(tmp_path / "one").sha256 == read_archive(tmp_path / "two").sha256
    with ArchiveWriter(tmp_path / "three", header()) as writer:
        writer.finish()
    assert read_archive(tmp_path / "one").sha256 != read_archive(tmp_path / "three").sha256


def test_any_changed_byte_and_any_cut_is_noticed(tmp_path: Path) -> None:
    """Whichever byte of the file it is."""
    path = tmp_path / "state"
    written(path)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes((content[at] ^ 0x41,)) + content[at + 1 :])
        with pytest.raises(Stop):
            read_archive(path)
        path.write_bytes(content[:at])
        with pytest.raises(Stop):
            read_archive(path)
    path.write_bytes(content + b"x")
    with pytest.raises(Stop, match="checksum"):
        read_archive(path)


def test_another_version_of_the_file_is_named(tmp_path: Path) -> None:
    """Instead of being called damaged."""
    written(tmp_path / "state", version=VERSION + 1)
    with pytest.raises(Stop, match=f"version {VERSION + 1} of the file; this release reads {VERSION}"):
        read_archive(tmp_path / "state")


def test_a_file_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    """Neither under its name nor beside it; one that was there stays."""
    (tmp_path / "state").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), ArchiveWriter(tmp_path / "state", header()) as writer:
        writer.add(0, [b"k"], [b"v"])
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").read_bytes() == b"before"
