"""A file that access depends on: parsed before it is used, and read again when it changes.

    file changed -> read, parsed -> every call from then on
Rule: what is wrong at the start ends the start; what is wrong later is logged once, and what was read before stays in
use. No content of the file is part of a message that is not its own.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.watched_files import Watch

log = logging.getLogger(__name__)

CHECK_S = 5.0
"""Seconds between two checks."""
MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read."""

T = TypeVar("T")


def read_file(path: Path) -> bytes:
    """The file's bytes. Raises `SightlineError` of kind CONFIGURATION where it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SightlineError(ErrorKind.CONFIGURATION, f"cannot read {path}: {reason}") from error
    if len(content) > MAX_BYTES:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{path} has more than {MAX_BYTES} bytes")
    return content


class FileInUse(Generic[T]):
    """The content of one file, as `parse` makes it. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        path: Path,
        parse: Callable[[bytes], T],
        *,
        read: Callable[[Path], bytes] = read_file,
        initial: bytes | None = None,
        on_check: Callable[[bool], object] = lambda usable: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Reads the file. Where that fails, begins with `initial`: what a parent found good.

        `name` says what the file is in messages. `on_check` is called with whether the file can be used, each time that
        it has been read. Raises `SightlineError` of kind CONFIGURATION.
        """
        self.name = name
        self._path = path
        self._parse = parse
        self._read = read
        self._on_check = on_check
        self._watch = Watch((path,), now)
        self._failure = ""
        self._watch.changed()
        try:
            self._contents = self._read_once()
            self._value = self._parsed(self._contents)
            on_check(True)
        except SightlineError as error:
            if initial is None:
                raise
            self._contents, self._value = initial, self._parsed(initial)
            self._refuse(error.message, force=False)

    @property
    def value(self) -> T:
        """The content in use."""
        return self._value

    @property
    def contents(self) -> bytes:
        """The bytes of the content in use."""
        return self._contents

    def check(self, *, force: bool = False) -> None:
        """Reads the file again when it has changed, or in any case with `force`. Blocks on the disk; never raises.

        Without `force` it returns at once while another thread checks.
        """
        self._watch.check(partial(self._reload, force=force), force=force)

    def _reload(self, *, force: bool) -> None:
        try:
            contents = self._read_once()
            changed = contents != self._contents
            # Also an unchanged file is checked again: what it is compared with may have changed.
            value = self._parsed(contents)
        except SightlineError as error:
            self._refuse(error.message, force=force)
            return
        if changed:
            self._contents, self._value = contents, value
            log.info("access: calls from now on use the %s file as it is now: %s", self.name, self._path)
        elif force or self._failure:
            log.info("access: the %s file holds what is in use: %s", self.name, self._path)
        self._failure = ""
        self._on_check(True)

    def _refuse(self, message: str, *, force: bool) -> None:
        # A file that is being written fails several times in the same way; that is one fault.
        if message != self._failure or force:
            log.error("access: calls go on with the %s file from before: %s", self.name, message)
        self._failure = message
        self._on_check(False)

    def _read_once(self) -> bytes:
        return self._read(self._path)

    def _parsed(self, contents: bytes) -> T:
        """The content in its parsed form. Raises `SightlineError` that names the file."""
        try:
            return self._parse(contents)
        except SightlineError as error:
            message = f"{self.name} file {self._path}: {error.message}"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error
