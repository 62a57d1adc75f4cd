"""The output of the commands on models: lines and JSON on stdout, progress and errors on stderr.

Rule: a failure is one line on stderr and exit code 1; what a program reads (`--json`) is alone on stdout.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich import progress as rich_progress
from rich.console import Console

from sightline_console import entry
from sightline_console.terminal import echo, echo_lines
from sightline_models.check import Checked
from sightline_models.defaults import DefaultModel
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.offered import OFFERED_MODELS, SETS
from sightline_models.places import missing_right
from sightline_models.pull import Progress, Report, Step
from sightline_models.store import State, StoredModel
from sightline_server.errors import SightlineError

_STEPS = list(Step)
_LAST_STEP = _STEPS.index(Step.DONE)
_COLUMNS = ("", "model", "role", "MB", "ms", "quality", "licence")


def facts(stored: StoredModel) -> dict[str, Any]:
    """The facts of one model of the repository for `--json`."""
    known = stored.default if stored.default and stored.name == stored.default.name else None
    return {
        "folder": stored.folder,
        "name": stored.name,
        "state": stored.state.value,
        "path": str(stored.path),
        "sha256": stored.found,
        "expected_sha256": stored.expected,
        "source": known.requirements if known else "",
        "licence": known.licence if known else "",
    }


def offered_facts(stored: Sequence[StoredModel]) -> list[dict[str, Any]]:
    """The facts of the models that `models use` knows; `folders` are those of the repository that hold the model."""
    return [
        {
            "name": model.name,
            "role": model.folder,
            "folders": [each.folder for each in stored if each.found == model.sha256],
            "megabytes": model.figures.megabytes,
            "cpu_ms": model.figures.cpu_ms,
            "quality": model.figures.quality,
            "licence": model.licence,
            "source": model.requirements,
        }
        for model in OFFERED_MODELS
    ]


def check_line(checked: Checked) -> str:
    """The line of a model that passed the check."""
    away = ", ".join(f"{name} within {value:.1e}" for name, value in checked.deviation.items())
    custom = checked.stored.state is State.CUSTOM
    otherwise = (
        "fits the contract; a custom model has no reference" if custom else "is the pinned file, fits the contract"
    )
    verdict = f"matches the reference ({away})" if away else otherwise
    return f"{checked.stored.folder}  {checked.stored.name}  {verdict}; config.pbtxt is valid"


def list_lines(stored: StoredModel) -> str:
    """The lines of one model of the repository."""
    found = facts(stored)
    rows = [f"{key:>8}  {found[key]}" for key in ("name", "state", "source", "licence", "sha256", "path") if found[key]]
    return "\n".join([found["folder"], *rows])


def offered_lines(stored: Sequence[StoredModel]) -> Iterator[str]:
    """The table of the models that `models use` knows; `*` marks those of the repository."""
    rows: list[Sequence[str]] = [_COLUMNS]
    for each in offered_facts(stored):
        mark = "*" if each["folders"] else ""
        figures = (f"{each['megabytes']:g}", f"{each['cpu_ms']:g}")
        rows.append((mark, each["name"], each["role"], *figures, each["quality"], each["licence"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    yield "for `sightline models use NAME` (ms: one image on one CPU thread; * in the repository)"
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    sets = (f"{name} = {' + '.join(map(_with_search, models))}" for name, models in SETS.items())
    yield f"sets: {'; '.join(sets)}"


def _with_search(model: DefaultModel) -> str:
    """The name of a model, with the defaults of searches that a set adds to it."""
    added = ", ".join(f"{key} {json.dumps(value)}" for key, value in model.search.items())
    return f"{model.name} ({added})" if added else model.name


def print_models(as_json: bool, found: dict[str, Any], lines: Iterable[str]) -> None:
    """Prints one JSON object, or the lines."""
    echo_lines(json.dumps(found) if as_json else "\n".join(lines))


@contextmanager
def errors_on_one_line() -> Iterator[None]:
    """Turns errors into one line on stderr and an exit code."""
    try:
        yield
    except ModelError as error:
        echo(f"sightline models: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2 if isinstance(error, NoHomeError) else 1) from error
    except SightlineError as error:
        echo(f"sightline models: {' '.join(error.message.split())}", err=True)
        raise typer.Exit(1) from error
    except PermissionError as error:
        echo(f"sightline models: {missing_right(error)}", err=True)
        raise typer.Exit(1) from error
    except BrokenPipeError:  # the reader of the output has left
        raise
    except OSError as error:
        echo(f"sightline models: {entry.described(error)}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def reporting(console: Console, models: Sequence[DefaultModel]) -> Iterator[Report]:
    """A bar a model on a terminal, a plain line a step elsewhere."""
    if not console.is_terminal:
        yield _plain_lines(sys.stderr.write)
        return
    columns = (rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn(), "{task.fields[step]}")
    with rich_progress.Progress(*columns, console=console) as bars:
        tasks = {m.folder: bars.add_task(m.folder, total=_LAST_STEP, step="waiting") for m in models}

        def report(progress: Progress) -> None:
            done = min(_STEPS.index(progress.step), _LAST_STEP)
            bars.update(tasks[progress.model.folder], completed=done, step=progress.step.value)

        yield report


def _plain_lines(write: Callable[[str], object]) -> Report:
    def report(progress: Progress) -> None:
        write(f"{progress.model.folder}: {progress.step.value} ({progress.model.name})\n")

    return report
