"""The end of a `sightline catalog` command that fails: one line on standard error and an exit code."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from sightline_console import entry
from sightline_console.remote_catalog import RemoteError
from sightline_console.terminal import echo, echo_lines
from sightline_server.errors import ErrorKind, SightlineError


@contextmanager
def failures(interrupted: str = "no catalog was written") -> Iterator[None]:
    """Turns what can go wrong into one line and an exit code; `interrupted` is what Ctrl-C leaves."""
    try:
        yield
    except SightlineError as error:
        echo_lines(f"sightline: {error.message}", err=True)
        raise typer.Exit(2 if error.kind is ErrorKind.CONFIGURATION else 1) from None
    except RemoteError as error:
        echo(f"sightline: {error.message}", err=True)
        raise typer.Exit(2 if error.wrong_usage else 1) from None
    except BrokenPipeError:  # the reader of the output has left
        raise
    except OSError as error:
        echo(f"sightline: {entry.described(error)}", err=True)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        echo(f"sightline: interrupted; {interrupted}", err=True)
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        raise typer.Exit(128 + number) from None
