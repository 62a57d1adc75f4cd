"""The file of an export: written next to its name, brought to the disk, and then put in place at once.

Rule: a reader of the name finds the old file or the whole new one. A file that exists is replaced only if that is
asked for.
"""

import gzip
import io
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from sightline_server.catalog.durable import sync
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.exports.formats import is_packed

STANDARD_OUTPUT = "-"
BUFFER_BYTES = 1024 * 1024


@contextmanager
def opened_target(name: str, *, replace: bool) -> Iterator[BinaryIO]:
    """A file to write to; `-` is standard output, and a name that ends with `.gz` is packed.

    Leaving it with an exception leaves nothing behind. Raises `SightlineError` of kind CONFIGURATION where the file
    cannot be written; `OSError` for a disk that is full.
    """
    if name == STANDARD_OUTPUT:
        yield standard_output()
        return
    path = checked_path(Path(name), replace=replace)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with created(partial) as file, packed(file, is_packed(path.name)) as target:
            yield target
        sync(partial)
        place(partial, path, replace=replace)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def standard_output() -> BinaryIO:
    """Standard output as bytes. Raises `SightlineError` where it is closed."""
    if sys.stdout is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "--out -: standard output is closed")
    return sys.stdout.buffer


def checked_path(path: Path, *, replace: bool) -> Path:
    """The path with symbolic links followed. Raises `SightlineError` where no file can be put there."""
    path = path.resolve()
    if not path.parent.is_dir():
        raise SightlineError(ErrorKind.CONFIGURATION, f"there is no folder {path.parent}; make it first")
    if not os.path.lexists(path):
        return path
    if not path.is_file():
        raise SightlineError(ErrorKind.CONFIGURATION, f"{path} is not a file; name a file to write to")
    if not replace:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{path} already exists; --replace writes it again")
    return path


@contextmanager
def created(path: Path) -> Iterator[BinaryIO]:
    """A new file at `path` with the rights that the user's mask gives."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        message = f"cannot write to {path.parent}: {os.strerror(error.errno or 0)}"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    with open(descriptor, "wb", buffering=BUFFER_BYTES) as file:
        yield file


@contextmanager
def packed(file: BinaryIO, is_packed: bool) -> Iterator[BinaryIO]:
    """`file`, through gzip if it `is_packed`; equal content gives equal bytes."""
    if not is_packed:
        yield file
        return
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as source,
        io.BufferedWriter(cast("io.RawIOBase", source), BUFFER_BYTES) as buffered,
    ):
        yield buffered


def place(partial: Path, path: Path, *, replace: bool) -> None:
    """Gives the written file its name. Raises `SightlineError` where another file was put there meanwhile."""
    if replace:
        partial.replace(path)
        return
    try:
        os.link(partial, path)
    except FileExistsError:
        message = f"{path} was made by another process meanwhile and is not replaced"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from None
    except OSError:  # a filesystem without hard links
        if os.path.lexists(path):
            raise
        partial.replace(path)
