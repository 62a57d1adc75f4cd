"""The file with the server's process id, for other programs.

Rule: it appears whole, when the server serves, and goes with the server unless it is another one's by then.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError


@contextmanager
def written_pid(path: Path | None) -> Iterator[None]:
    """Writes this process's id to `path` for the length of the block; without a path, does nothing.

    Raises `SightlineError` of kind CONFIGURATION when it cannot be written.
    """
    if path is None:
        yield
        return
    own = f"{os.getpid()}\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(own)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        message = f"cannot write the process id to {path}: {error.strerror or error}"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text() == own:
                path.unlink()
