"""Groups of files in parts small enough to carry: split here, joined and verified on a machine without internet.

    OUT/manifest.json            what the parts hold, with SHA-256 of each part and each file
    OUT/server.000, server.001   a group's files one after the other, cut every so many bytes

Rule: standard library only, because joining is the first step on a bare machine; nothing is written outside the
folder that was named, and a file appears under its name only when its hash is right.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

FORMAT = 1
MIB = 1 << 20
MAX_PART_MIB = 60
BLOCK = 1 << 20
MANIFEST = "manifest.json"


class PackError(Exception):
    """A pack that cannot be made or joined; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file or a part: its name, or its path below the group's folder, its size and its hash."""

    name: str
    bytes: int
    sha256: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Files that are carried together, and the parts that hold them."""

    name: str
    files: tuple[Piece, ...]
    parts: tuple[Piece, ...]


class Cutter:
    """Writes a stream of bytes into parts of at most `part_bytes`."""

    def __init__(self, folder: Path, name: str, part_bytes: int) -> None:
        self._folder, self._name, self._part_bytes = folder, name, part_bytes
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._written = 0
        self.parts: list[Piece] = []

    def write(self, data: bytes) -> None:
        """Appends `data`, beginning new parts where one is full."""
        view = memoryview(data)
        while view:
            if self._file is None:
                self._file = (self._folder / self._part_name).open("wb")
            taken = view[: self._part_bytes - self._written]
            self._file.write(taken)
            self._digest.update(taken)
            self._written += len(taken)
            view = view[len(taken) :]
            if self._written == self._part_bytes:
                self.close()

    @property
    def _part_name(self) -> str:
        return f"{self._name}.{len(self.parts):03d}"

    def close(self) -> None:
        """Ends the part that was begun, if any."""
        if self._file is not None:
            self._file.close()
            self.parts.append(Piece(self._part_name, self._written, self._digest.hexdigest()))
            self._file, self._written, self._digest = None, 0, hashlib.sha256()


def split(name: str, sources: Mapping[str, Path], out: Path, part_bytes: int) -> Group:
    """Writes `sources` (path in the group -> file) as parts of group `name` into `out`."""
    files = []
    cutter = Cutter(out, name, part_bytes)
    for path, source in sources.items():
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as file:
            for block in blocks(file):
                cutter.write(block)
                digest.update(block)
                size += len(block)
        files.append(Piece(checked(path), size, digest.hexdigest(), os.access(source, os.X_OK)))
    cutter.close()
    return Group(name, tuple(files), tuple(cutter.parts))


def join(group: Group, parts: Path, out: Path) -> None:
    """Writes the files of `group` below `out` from its parts. Raises `PackError` for parts missing or wrong."""
    for part in group.parts:
        if not (parts / part.name).is_file():
            raise PackError(f"group {group.name}: {', '.join(missing(group, parts))} missing in {parts}")
        if hash_of(parts / part.name) != part.sha256:
            raise PackError(f"part {part.name} is damaged: its SHA-256 is not the manifest's")
    with ExitStack() as stack:
        opened = [stack.enter_context((parts / part.name).open("rb")) for part in group.parts]
        stream = Stream(opened)
        for file in group.files:
            write_file(file, stream, out)


class Stream:
    """Several files read as one."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self._files = list(files)

    def read(self, size: int) -> bytes:
        """At most `size` of the next bytes; empty at the end."""
        while self._files:
            if data := self._files[0].read(size):
                return data
            self._files.pop(0)
        return b""


def write_file(file: Piece, stream: Stream, out: Path) -> None:
    """Takes one file off the stream."""
    place = out / checked(file.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.partial-{os.getpid()}")
    digest, left = hashlib.sha256(), file.bytes
    try:
        with partial.open("wb") as target:
            while left and (data := stream.read(min(BLOCK, left))):
                target.write(data)
                digest.update(data)
                left -= len(data)
        if left or digest.hexdigest() != file.sha256:
            raise PackError(f"file {file.name} is not what was packed")
        partial.chmod(0o755 if file.executable else 0o644)
        partial.rename(place)
    finally:
        partial.unlink(missing_ok=True)


def missing(group: Group, parts: Path) -> list[str]:
    """The parts of `group` that are not there."""
    return [part.name for part in group.parts if not (parts / part.name).is_file()]


def checked(path: str) -> str:
    """`path` itself. Raises `PackError` when it leads out of its folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise PackError(f"the path {path!r} leads out of its folder")
    return path


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, a block at a time."""
    while block := file.read(BLOCK):
        yield block


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(out: Path, groups: Sequence[Group], facts: Mapping[str, object]) -> None:
    """Writes what `read_manifest` reads; groups of an earlier manifest that are not made again stay."""
    kept = [group for group in earlier(out) if group.name not in {made.name for made in groups}]
    record = {"format": FORMAT, **facts, "groups": [asdict(group) for group in (*kept, *groups)]}
    partial = out / f"{MANIFEST}.partial-{os.getpid()}"
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.rename(out / MANIFEST)


def earlier(out: Path) -> list[Group]:
    """The groups of the manifest that is there, if one is."""
    return read_manifest(out) if (out / MANIFEST).is_file() else []


def read_manifest(folder: Path) -> list[Group]:
    """The groups of a pack. Raises `PackError` for a manifest that is missing or of another format."""
    try:
        record = json.loads((folder / MANIFEST).read_text())
        if record["format"] != FORMAT:
            raise PackError(f"{folder / MANIFEST} has format {record['format']}, this script reads {FORMAT}")
        return [
            Group(given["name"], *(tuple(Piece(**piece) for piece in given[key]) for key in ("files", "parts")))
            for given in record["groups"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(f"no manifest can be read in {folder}: {error}") from error


def files_below(folder: Path) -> dict[str, Path]:
    """Path -> file of all files below `folder`, in a fixed order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def main() -> int:
    """`split` or `join`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m load_tests.gpu.parts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cut = commands.add_parser("split", help="make parts and the manifest")
    cut.add_argument("--out", type=Path, required=True)
    cut.add_argument("--part-mib", type=int, default=50, help=f"largest part, at most {MAX_PART_MIB}")
    cut.add_argument("--fact", action="append", default=[], metavar="NAME=TEXT", help="goes into the manifest")
    cut.add_argument("groups", nargs="+", metavar="NAME=FOLDER")
    put = commands.add_parser("join", help="verify parts and write their files")
    put.add_argument("--parts", type=Path, required=True)
    put.add_argument("--out", type=Path, required=True)
    put.add_argument("--only", default="", help="groups, with commas between; else all whose parts are there")
    arguments = parser.parse_args()
    try:
        return split_all(arguments) if arguments.command == "split" else join_all(arguments)
    except PackError as error:
        print(f"parts: {error}", file=sys.stderr)
        return 1


def split_all(arguments: argparse.Namespace) -> int:
    """Makes every group; one line each."""
    if not 0 < arguments.part_mib <= MAX_PART_MIB:
        raise PackError(f"a part may have 1 to {MAX_PART_MIB} MiB, not {arguments.part_mib}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    made = []
    for given in arguments.groups:
        name, _, folder = given.partition("=")
        for stale in arguments.out.glob(f"{name}.[0-9][0-9][0-9]"):
            stale.unlink()
        group = split(name, files_below(Path(folder)), arguments.out, arguments.part_mib * MIB)
        size = sum(file.bytes for file in group.files) / MIB
        print(f"{name}: {len(group.files)} files, {size:.1f} MiB, {len(group.parts)} parts", file=sys.stderr)
        made.append(group)
    write_manifest(arguments.out, made, dict(fact.split("=", 1) for fact in arguments.fact))
    return 0


def join_all(arguments: argparse.Namespace) -> int:
    """Joins the chosen groups, or all whose parts are there; one line each."""
    wanted = set(filter(None, arguments.only.split(",")))
    groups = {group.name: group for group in read_manifest(arguments.parts)}
    if unknown := wanted - set(groups):
        raise PackError(f"no group {', '.join(sorted(unknown))}; there are {', '.join(groups)}")
    for name, group in groups.items():
        if (wanted and name not in wanted) or (not wanted and len(missing(group, arguments.parts)) == len(group.parts)):
            print(f"{name}: left out", file=sys.stderr)
            continue
        join(group, arguments.parts, arguments.out / name)
        print(f"{name}: {len(group.files)} files verified", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
