"""`sightline models pull | add | check | list`.

Rule: a failure is one line on stderr and exit code 1; what a program reads (`--json`) is alone on stdout.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress as rich_progress
from rich.console import Console

from sightline_console import entry
from sightline_console.terminal import echo, echo_lines
from sightline_models.adding import add_embedder
from sightline_models.check import Checked, check_one
from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.places import DEFAULT_HOME, HOME_VARIABLE, default_repository, find_home, missing_right
from sightline_models.pull import Progress, Report, Step
from sightline_models.pull import pull as pull_models
from sightline_models.store import StoredModel, inspect_all, inspect_embedder
from sightline_server.app.embedded import embedded_checks
from sightline_server.errors import ErrorKind, SightlineError

app = typer.Typer(
    name="models",
    help="Fetch the default models; add embedders; check and list all models.",
    add_completion=False,
    no_args_is_help=True,
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
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the embedder; its folder is embedder-NAME.")],
    onnx: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX file that keeps the contract of an embedder.")],
    preprocess: Annotated[
        str, typer.Option(metavar="JSON", help="The steps that make its input from an image; docs/guide/models.md.")
    ] = '{"resize": "squash"}',
    repository: Repository = None,
    home: Home = None,
) -> None:
    """Add an embedder in addition to the first one, after the checks of `check`.

    A server serves it from its next start on, for the catalogs that are built with it.
    """
    with _errors_on_one_line():
        place = repository or default_repository(home or find_home())
        folder = add_embedder(place, name, onnx, preprocess, _check_embedder)
        _print(False, [], iter([f"{folder}  added; build a catalog with: --embedder {folder.name}"]))


def _check_embedder(repository: Path, folder: str) -> None:
    """Raises `ModelError` or `SightlineError` for an embedder that a server would refuse."""
    _check_configuration(repository, check_one(inspect_embedder(repository, folder)))


@app.command()
def check(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Verify each model's hash, its output for known images, and its config.pbtxt as `sightline serve` does."""
    with _errors_on_one_line():
        place = repository or default_repository(home or find_home())
        checked = [check_one(stored) for stored in inspect_all(place)]
        for model in checked:
            _check_configuration(place, model)
        _print(
            as_json, [_facts(c.stored) | {"deviation": dict(c.deviation)} for c in checked], map(_check_line, checked)
        )


def _check_configuration(repository: Path, checked: Checked) -> None:
    """Reads the model's specification as the server does. Raises `SightlineError` for what the server would refuse."""
    # Late, so that `pull` and `list` do not load Triton's client.
    from sightline_server.triton.specs import search_models
    from sightline_server.triton.stored import read_stored

    folder = checked.stored.folder
    embedded = embedded_checks()
    config = embedded.model_config(repository, folder) if embedded else repository / folder / "config.pbtxt"
    if not config.exists():
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such file: {config}; without it the model cannot be served")
    further = [] if checked.stored.default else [folder]
    served = next(model for model in search_models(further) if model.role == folder)
    read_stored(served, config, checked.inputs, checked.outputs)


@app.command(name="list")
def list_models(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show the models in the repository, with source and licence."""
    with _errors_on_one_line():
        place = repository or default_repository(home or find_home())
        stored = inspect_all(place)
        _print(as_json, [_facts(model) for model in stored], map(_list_lines, stored))


def _facts(stored: StoredModel) -> dict[str, Any]:
    default = stored.default if stored.default and stored.name == stored.default.name else None
    return {
        "folder": stored.folder,
        "name": stored.name,
        "state": stored.state.value,
        "path": str(stored.path),
        "sha256": stored.found,
        "expected_sha256": stored.expected,
        "source": default.source.requirement if default else "",
        "licence": default.source.licence if default else "",
    }


def _check_line(checked: Checked) -> str:
    away = ", ".join(f"{name} within {value:.1e}" for name, value in checked.deviation.items())
    verdict = f"matches the reference ({away})" if away else "fits the contract; a custom model has no reference"
    return f"{checked.stored.folder}  {checked.stored.name}  {verdict}; config.pbtxt is valid"


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
