"""`sightline models pull | check | list`.

Place in the flow: found by the console script through the entry-point group `sightline.commands`. The one rule: a
failure is one line on stderr and exit code 1; what a program reads (`--json`) is alone on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress as rich_progress
from rich.console import Console

from sightline_client.cli import entry
from sightline_client.terminal import echo, echo_lines
from sightline_models.check import Checked, check_one
from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.places import DEFAULT_HOME, HOME_VARIABLE, default_repository, find_home, missing_right
from sightline_models.pull import Progress, Report, Step
from sightline_models.pull import pull as pull_models
from sightline_models.store import StoredModel, inspect

app = typer.Typer(
    name="models", help="Fetch, check and list the default models.", add_completion=False, no_args_is_help=True
)

_STEPS = list(Step)
_LAST_STEP = _STEPS.index(Step.DONE)

Repository = Annotated[
    Path | None,
    typer.Option(help="Triton model repository (default: the checkout's, else the one in the home folder)."),
]
Home = Annotated[
    Path | None, typer.Option(help=f"Folder for downloads (default: ${HOME_VARIABLE}, else {DEFAULT_HOME}).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def pull(
    repository: Repository = None,
    home: Home = None,
    force: Annotated[bool, typer.Option(help="Replace files that are not the default models.")] = False,
) -> None:
    """Fetch the weights and compile the models that are missing."""
    with _errors_on_one_line():
        folder = home or find_home()
        place = repository or default_repository(folder)
        with _reporting(Console(stderr=True)) as report:
            pull_models(place, folder, report, force=force)


@app.command()
def check(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Verify each model's hash and its output for known images."""
    with _errors_on_one_line():
        place = repository or default_repository(home or find_home())
        checked = [check_one(inspect(place, model)) for model in DEFAULT_MODELS]
        _print(
            as_json, [_facts(c.stored) | {"deviation": dict(c.deviation)} for c in checked], map(_check_line, checked)
        )


@app.command(name="list")
def list_models(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show the models in the repository, with source and licence."""
    with _errors_on_one_line():
        place = repository or default_repository(home or find_home())
        stored = [inspect(place, model) for model in DEFAULT_MODELS]
        _print(as_json, [_facts(model) for model in stored], map(_list_lines, stored))


def _facts(stored: StoredModel) -> dict[str, Any]:
    default = stored.default
    return {
        "folder": default.folder,
        "name": stored.name,
        "state": stored.state.value,
        "path": str(stored.path),
        "sha256": stored.found,
        "expected_sha256": stored.expected,
        "source": default.source.requirement if stored.name == default.name else "",
        "licence": default.source.licence if stored.name == default.name else "",
    }


def _check_line(checked: Checked) -> str:
    away = ", ".join(f"{name} within {value:.1e}" for name, value in checked.deviation.items())
    verdict = f"as the reference ({away})" if away else "keeps the contract; no reference for a custom model"
    return f"{checked.stored.default.folder}  {checked.stored.name}  {verdict}"


def _list_lines(stored: StoredModel) -> str:
    facts = _facts(stored)
    rows = [f"{key:>8}  {facts[key]}" for key in ("name", "state", "source", "licence", "sha256", "path") if facts[key]]
    return "\n".join([facts["folder"], *rows])


def _print(as_json: bool, facts: list[dict[str, Any]], lines: Iterator[str]) -> None:
    echo_lines(json.dumps({"models": facts}) if as_json else "\n".join(lines))


@contextmanager
def _errors_on_one_line() -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        echo(f"sightline models: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2 if isinstance(error, NoHomeError) else 1) from error
    except PermissionError as error:
        echo(f"sightline models: {missing_right(error)}", err=True)
        raise typer.Exit(1) from error
    except BrokenPipeError:  # the reader of the output has left
        raise
    except OSError as error:
        echo(f"sightline models: {entry.described(error)}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def _reporting(console: Console) -> Iterator[Report]:
    """A bar a model on a terminal, a plain line a step elsewhere."""
    if not console.is_terminal:
        yield _plain_lines(sys.stderr.write)
        return
    columns = (rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn(), "{task.fields[step]}")
    with rich_progress.Progress(*columns, console=console) as bars:
        tasks = {m.folder: bars.add_task(m.folder, total=_LAST_STEP, step="waiting") for m in DEFAULT_MODELS}

        def report(progress: Progress) -> None:
            done = min(_STEPS.index(progress.step), _LAST_STEP)
            bars.update(tasks[progress.model.folder], completed=done, step=progress.step.value)

        yield report


def _plain_lines(write: Callable[[str], object]) -> Report:
    def report(progress: Progress) -> None:
        write(f"{progress.model.folder}: {progress.step.value} ({progress.model.name})\n")

    return report
