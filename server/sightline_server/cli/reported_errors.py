"""The end of `sightline audit` and `sightline keys` where they cannot be carried out: one line, exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sightline_console import entry
from sightline_console.terminal import echo
from sightline_server.errors import ErrorKind, SightlineError


def wrong(message: str) -> SightlineError:
    """The error of a command that cannot be carried out."""
    return SightlineError(ErrorKind.CONFIGURATION, message)


@contextmanager
def errors_on_one_line() -> Iterator[None]:
    """Prints a `SightlineError` or an error of the operating system on one line of stderr and exits with 2."""
    try:
        yield
    except SightlineError as error:
        echo(f"sightline: {error.message}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader of the output has left
        raise
    except OSError as error:
        echo(f"sightline: {entry.described(error)}", err=True)
        sys.exit(2)
