"""Runs a command of ours and turns whatever ends it into an exit code and a few printable lines.

Exit codes: 0, 1 when the command failed, 2 for wrong usage, 130 after Ctrl-C. Rule: no traceback for something that a
user can do; a fault of ours is one line, and a traceback with SIGHTLINE_TRACEBACK=1. Neither ever shows local
variables, of which one may be a photo.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable

import typer

from sightline_console.terminal import echo, echo_lines, printable

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
TRACEBACK_VARIABLE = "SIGHTLINE_TRACEBACK"

# Typer exports some of these exceptions, but not their base.
_UsageProblem: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


@runtime_checkable
class Described(Protocol):
    """An error that words itself for a user."""

    def one_line(self) -> str:
        """The error as one line of printable text."""


def run(app: typer.Typer, arguments: Sequence[str] | None, name: str) -> int:
    """Runs `app` as the program `name` and returns the exit code; `arguments` are those of the process if None."""
    _make_streams_safe()
    try:
        code = invoke(app, arguments, name)
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as end:
        return _code_of(end)
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        _discard_output()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return _report(error)
    return code


def invoke(app: typer.Typer, arguments: Sequence[str] | None, name: str, obj: object = None) -> int:
    """Runs `app` and returns its exit code; wrong usage is reported here, every other exception is passed on.

    `obj` is what the commands of `app` find in their context.
    """
    given = arguments if arguments is None else list(arguments)
    try:
        code = app(args=given, prog_name=name, standalone_mode=False, obj=obj)
    except typer.Abort:
        return INTERRUPTED
    except _UsageProblem as problem:
        _report_usage(problem, name)
        return WRONG_USAGE
    return code if isinstance(code, int) else 0


def _report_usage(problem: Exception, name: str) -> None:
    if type(problem).__name__ == "NoArgsIsHelpError":  # has printed the help
        return
    context = getattr(problem, "ctx", None)
    if context is not None:
        echo_lines(context.get_usage(), err=True)
    message = getattr(problem, "format_message", problem.__str__)()
    help_command = context.command_path if context is not None else name
    echo(f"sightline: {message} ({help_command} --help lists the options)", err=True)


def _report(error: Exception) -> int:
    with suppress(OSError, ValueError):  # standard error may be what fails
        if os.environ.get(TRACEBACK_VARIABLE):
            echo_lines("".join(traceback.format_exception(error)), err=True)
        else:
            echo(f"sightline: {described(error)}", err=True)
    # Output that could not be written is tried again when the interpreter ends, with a traceback.
    _discard_output()
    return FAILED


def described(error: Exception) -> str:
    """One line about an error: a user's mistake as it is, any other exception as an internal error."""
    match error:
        case Described():
            return error.one_line()
        case OSError():
            reason = error.strerror or str(error)
            return f"{error.filename}: {reason}" if error.filename is not None else reason
        case MemoryError():
            return "there is not enough memory"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    text = printable(str(error))[:200]
    return (
        f"internal error: {type(error).__name__}: {text}{where}; "
        f"run with {TRACEBACK_VARIABLE}=1 for the traceback, and please report it"
    )


def _code_of(end: SystemExit) -> int:
    if isinstance(end.code, str):
        echo(f"sightline: {end.code}", err=True)
        return FAILED
    return end.code or 0


def _make_streams_safe() -> None:
    """Text that the terminal's encoding lacks is escaped, and closed streams take everything."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Points the process's streams to nowhere if they cannot be written any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
