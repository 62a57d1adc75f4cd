"""The values that a writer gives and gets, and the errors of a base that cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sightline_server.catalog.base import UNREADABLE, panics
from sightline_server.catalog.refusals import refusal
from sightline_server.domain.revisions import Receipt as Receipt
from sightline_server.errors import SightlineError


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """The limits of the log: operations go into the base after so many, or after so many bytes of rows."""

    operations: int = 50_000
    row_bytes: int = 256 * 1024 * 1024


@contextmanager
def writing_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the base's files into `SightlineError`."""
    try:
        with panics():
            yield
    except UNREADABLE as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: Exception) -> SightlineError:
    """The error of a base that could not be written."""
    found = refusal(error, folder)
    message = (
        f"cannot write the base of {folder} ({found.reason}); {found.remedy}. "
        "Nothing was lost: writes that were acknowledged are in the log"
    )
    return SightlineError(found.kind, message)
