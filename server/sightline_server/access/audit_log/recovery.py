"""The point from which a chain is continued after any kind of end of the process before.

    state -> lines behind it that belong to the chain -> the end; bytes behind that were never acknowledged
Rule: what is on the disk is not changed, but for a file whose first record was not finished.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from sightline_server.access.audit_log.chain import Link, following
from sightline_server.access.audit_log.files import LogFile, files_of, header_of, lines_of
from sightline_server.access.audit_log.state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a chain: `link`, at byte `size` of the file `name` (empty for a chain without a file).

    `number` is that of its last file.
    """

    link: Link
    name: str = ""
    size: int = 0
    number: int = 0


def end_of(folder: Path, state: State) -> End:
    """The end of the chain in `folder`, which is at `state` or behind it. Raises `OSError`."""
    files = files_of(folder)
    number = files[-1].number if files else 0
    known = [file for file in files if file.path.name == state.file]
    if state.file and not (known and known[0].path.stat().st_size >= state.size):
        log.error("audit: records at the end of %s are missing; `sightline audit verify` shows which", folder)
        return End(state.link, state.file, state.size, number)
    end = End(state.link, state.file, state.size, number)
    if known:
        link, size = replayed(known[0], state.size, state.link, limit_of(known[0], files))
        end = End(link, state.file, size, number)
    for file in files:
        if not known or file.number > known[0].number:
            end = continued(end, file, limit_of(file, files))
    return end


def continued(end: End, file: LogFile, limit: int | None) -> End:
    """The end after the records of the next `file`, which is removed where it has none."""
    link, size = replayed(file, 0, end.link, limit)
    if size:
        return End(link, file.path.name, size, end.number)
    log.warning("audit: removed %s, whose first record was not finished", file.path)
    file.path.unlink()
    return end


def replayed(file: LogFile, start: int, link: Link, limit: int | None) -> tuple[Link, int]:
    """The end of the chain after the lines of `file` from byte `start` on, and the byte at which they end."""
    for line in lines_of(file.path, start, limit):
        after = following(link, line)
        if after is None:
            break
        link, start = after, start + len(line)
    return link, start


def limit_of(file: LogFile, files: list[LogFile]) -> int | None:
    """The byte of `file` at which the chain goes on in the next one; None for the last file.

    It is what the next file says, which its MAC confirms once the chain has come there.
    """
    for later in files:
        if later.number > file.number and (header := header_of(later)) is not None:
            size = header.get("previous_size")
            if header.get("previous_file") == file.path.name and isinstance(size, int) and size >= 0:
                return size
    return None


def rest_of(path: Path, size: int) -> tuple[int, str]:
    """The number of bytes that a file has behind byte `size`, and their SHA-256; 0 and an empty text for none."""
    try:
        with path.open("rb") as file:
            rest = max(0, file.seek(0, 2) - size)
            file.seek(size)
            return rest, hashlib.file_digest(file, "sha256").hexdigest() if rest else ""
    except FileNotFoundError:
        return 0, ""
