"""The file of ``ecounters state export``: a copy of a whole state.

::

    MAGIC
    frame  HEADER     JSON: the version of the file, the format of the entries, what the state is bound to
    frame  ENTRIES    of one partition: its number, and keys and values, packed with zstd; as many as there are
    ...
    frame  END        JSON: how many entries and bytes each partition has, and the SHA-256 of all before this frame

A frame is its kind (1 byte), the length of its content (4 bytes, big-endian), and the content. The content of ENTRIES
begins with the length that it unpacks to (4 bytes); what it unpacks to is the msgpack of (partition, keys, values).

A file is written beside its name, with the mode 0600, as it holds customers' numbers, and renamed once it is whole.
``read_archive`` reads a file to its end before it gives anything of it away, so a damaged one is noticed in time.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from operator import add
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self

import cramjam
import msgspec

from ecounters.changelog.binding import Binding
from ecounters.errors import Stop

MAGIC: Final = b"ecounters state\n"
VERSION: Final = 1
"""The version of the file."""
HEADER, ENTRIES, END = b"H", b"E", b"Z"
CHUNK_BYTES: Final = 1_048_576
"""A frame of entries has about as many bytes before it is packed."""
CONTENT_BYTES_MAX: Final = 64 * 1_048_576
"""No frame has more, packed or unpacked: what claims to is damaged."""
LEVEL: Final = 3
"""Of zstd."""
_HEAD_BYTES: Final = 5

_encode = msgspec.msgpack.Encoder().encode
_entries = msgspec.msgpack.Decoder(tuple[int, list[bytes], list[bytes]]).decode


class Header(msgspec.Struct, frozen=True):
    """``version``: of the file. ``format``: of the entries. ``binding``: of all partitions, but for its release.
    ``release``: the program that wrote the file. ``at``: when, RFC 3339."""

    version: int
    format: int
    release: str
    at: str
    binding: Binding

    @property
    def partitions(self) -> int:
        """How many partitions the state has."""
        return self.binding.log.partitions


class Size(msgspec.Struct, frozen=True):
    """How many entries a partition has, and how many bytes their keys and values."""

    entries: int
    bytes: int


class _End(msgspec.Struct, frozen=True):
    sizes: list[Size]
    sha256: str


class ArchiveWriter:
    """Writes a file. Leave its context without an error to keep it, after ``finish``.

    with ArchiveWriter(path, header) as writer:
        writer.add(0, keys, values)
        writer.finish()
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}")
        self._header = header
        self._sizes = [Size(0, 0)] * header.partitions
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._whole = False

    def __enter__(self) -> Self:
        with suppress(FileNotFoundError):
            self._beside.unlink()
        self._file = os.fdopen(os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._write(MAGIC)
        self._write_frame(HEADER, msgspec.json.encode(self._header))
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        assert self._file is not None
        try:
            if kind is None and self._whole:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._beside.replace(self._path)
        finally:
            self._file.close()
            with suppress(FileNotFoundError):
                self._beside.unlink()

    def add(self, partition: int, keys: list[bytes], values: list[bytes]) -> None:
        """Write the entries of a partition, in as many frames as they need. ``values``: one for each key."""
        ends = list(accumulate(map(add, map(len, keys), map(len, values))))  # of the bytes of the entries up to each
        begin = size = 0
        while begin < len(keys):
            end = min(bisect_left(ends, size + CHUNK_BYTES, begin) + 1, len(keys))
            self._write_entries(partition, keys[begin:end], values[begin:end])
            begin, size = end, ends[end - 1]
        self._sizes[partition] = Size(len(keys), size)

    def finish(self) -> list[Size]:
        """Write the end of the file. Returns the size of each partition."""
        end = _End(self._sizes, self._hash.hexdigest())
        self._write_frame(END, msgspec.json.encode(end))
        self._whole = True
        return self._sizes

    def _write_entries(self, partition: int, keys: list[bytes], values: list[bytes]) -> None:
        content = _encode((partition, keys, values))
        packed = bytes(cramjam.zstd.compress(content, level=LEVEL))
        self._write_frame(ENTRIES, len(content).to_bytes(4, "big") + packed)

    def _write_frame(self, kind: bytes, content: bytes) -> None:
        self._write(kind + len(content).to_bytes(4, "big") + content)

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        self._hash.update(content)
        self._file.write(content)


class Frame(NamedTuple):
    """Where some entries of a partition are in the file: its content from ``begin`` to ``end``."""

    begin: int
    end: int


class Archive:
    """A file that is whole. ``read_archive`` makes it.

    ``sha256``: of its content, so a name of it. ``sizes``: of each partition.
    """

    def __init__(self, path: Path, header: Header, sizes: list[Size], sha256: str, frames: list[list[Frame]]) -> None:
        self.path = path
        self.header = header
        self.sizes = sizes
        self.sha256 = sha256
        self._frames = frames

    def entries(self, partition: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Yield the entries of a partition, some at a time: their keys, and as many values."""
        with self.path.open("rb") as file:
            for begin, end in self._frames[partition]:
                file.seek(begin)
                _, keys, values = _unpacked(file.read(end - begin))
                yield keys, values


def read_archive(path: Path) -> Archive:
    """Read a file to its end and check it. Raises Stop if it is damaged, or of a version that is not known; OSError."""
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except _Damaged as damage:
        raise Stop(f"{path} is damaged or was cut off: {damage}; nothing was written") from None


class _Damaged(Exception):
    """A file is not what ``ArchiveWriter`` writes."""


def _read(path: Path, file: BinaryIO) -> Archive:
    total = hashlib.sha256()
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        raise Stop(f"{path} is no file of `ecounters state export`")
    total.update(magic)
    kind, content = _frame(file, total)
    if kind != HEADER:
        raise _Damaged("it does not begin with its header")
    header = _header(path, content)
    frames: list[list[Frame]] = [[] for _ in range(header.partitions)]
    sizes = [[0, 0] for _ in range(header.partitions)]
    while True:
        before = total.hexdigest()
        kind, content = _frame(file, total)
        if kind == END:
            break
        partition, keys, values = _unpacked(content)
        if kind != ENTRIES or not 0 <= partition < header.partitions or len(keys) != len(values):
            raise _Damaged(f"what ends at byte {file.tell():,} is no part of it")
        frames[partition].append(Frame(file.tell() - len(content), file.tell()))
        sizes[partition][0] += len(keys)
        sizes[partition][1] += sum(map(len, keys)) + sum(map(len, values))
    try:
        end = msgspec.json.decode(content, type=_End)
    except ValueError:
        raise _Damaged("its end cannot be read") from None
    if end.sha256 != before or end.sizes != [Size(*size) for size in sizes] or file.read(1):
        raise _Damaged("its checksum is another one")
    return Archive(path, header, end.sizes, end.sha256, frames)


def _header(path: Path, content: bytes) -> Header:
    try:
        version = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("version")
        if version is not None and bytes(version) != b"%d" % VERSION:
            raise Stop(f"{path} has version {bytes(version).decode()} of the file; this release reads {VERSION}")
        return msgspec.json.decode(content, type=Header)
    except ValueError:
        raise _Damaged("its header cannot be read") from None


def _frame(file: BinaryIO, total: hashlib._Hash) -> tuple[bytes, bytes]:
    """(kind, content) of the next frame, which is added to ``total``."""
    head = file.read(_HEAD_BYTES)
    length = int.from_bytes(head[1:], "big")
    content = file.read(length) if len(head) == _HEAD_BYTES and length <= CONTENT_BYTES_MAX else b""
    if len(head) < _HEAD_BYTES or len(content) < length:
        raise _Damaged(f"it ends at byte {file.tell():,}, within a part")
    total.update(head)
    total.update(content)
    return head[:1], content


def _unpacked(content: bytes) -> tuple[int, list[bytes], list[bytes]]:
    """(partition, keys, values) of the content of a frame of entries."""
    length = int.from_bytes(content[:4], "big")
    if length > CONTENT_BYTES_MAX:
        raise _Damaged("a part claims to be larger than any is")
    try:
        return _entries(bytes(cramjam.zstd.decompress(content[4:], output_len=length)))
    except (ValueError, cramjam.DecompressionError):
        raise _Damaged("a part cannot be unpacked") from None
