"""`sightline models pull | use | add | check | list`.

Rule: a failure is one line on stderr and exit code 1; what a program reads (`--json`) is alone on stdout.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sightline_console.terminal import echo
from sightline_models.adding import add_embedder
from sightline_models.check import Checked, check_one
from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.embedders import FOLDER
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.offered import chosen
from sightline_models.places import DEFAULT_HOME, HOME_VARIABLE, default_repository, find_home
from sightline_models.pull import Progress, Step, compile_default
from sightline_models.pull import pull as pull_models
from sightline_models.store import State, inspect, inspect_all, inspect_embedder, role_of
from sightline_models.use import in_folder
from sightline_models.use import use as use_model
from sightline_server.app.embedded import embedded_checks
from sightline_server.cli.models_output import (
    check_line,
    errors_on_one_line,
    facts,
    list_lines,
    offered_facts,
    offered_lines,
    print_models,
    reporting,
)
from sightline_server.errors import ErrorKind, SightlineError

app = typer.Typer(
    name="models",
    help="Fetch models, choose among them and add embedders; check and list all models.",
    add_completion=False,
    no_args_is_help=True,
)

Repository = Annotated[
    Path | None,
    typer.Option(help="Triton model repository (default: the checkout's, else the one in the home folder)."),
]
Home = Annotated[
    Path | None, typer.Option(help=f"Folder for downloads (default: ${HOME_VARIABLE}, else {DEFAULT_HOME}).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_NAMES = "Names of models or sets of `sightline models list`"


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"{_NAMES}, to be fetched and compiled so that `models use` needs no network."),
    ] = None,
    repository: Repository = None,
    home: Home = None,
    force: Annotated[bool, typer.Option(help="Replace files that are not models of this package.")] = False,
) -> None:
    """Fetch the weights and compile the models that are missing; with NAMES, fetch and verify those."""
    with errors_on_one_line():
        folder = home or find_home()
        if names:
            _fetch(names, folder, force=force)
            return
        place = repository or default_repository(folder)
        with reporting(Console(stderr=True), DEFAULT_MODELS) as report:
            pull_models(place, folder, report, force=force)


def _fetch(names: list[str], home: Path | None, *, force: bool) -> None:
    """Fetches named models; nothing in the repository changes."""
    if force:
        raise ModelError("--force is for the models of the repository; it has no meaning with NAMES")
    if home is None:
        raise NoHomeError
    models = chosen(names)
    with reporting(Console(stderr=True), models) as report:
        for model in models:
            compile_default(model, home / "downloads", report)
            report(Progress(model, Step.DONE))


@app.command()
def use(
    names: Annotated[list[str], typer.Argument(help=f"{_NAMES}, one model a role.")],
    repository: Repository = None,
    home: Home = None,
    folder: Annotated[
        str | None, typer.Option(help="Serve an embedder in this folder, embedder-NAME, next to the first embedder.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace a model that is not one of this package.")] = False,
) -> None:
    """Serve other models: fetch, compile, and write model and configuration into the repository."""
    with errors_on_one_line():
        kept = home or find_home()
        place = repository or default_repository(kept)
        models = [in_folder(model, folder) for model in chosen(names)]
        with reporting(Console(stderr=True), models) as report:
            for model in models:
                use_model(place, kept, model, _present_configuration(place, model.folder), report, force=force)
        for model in models:
            checked = check_one(inspect(place, model))
            _check_configuration(place, checked)
            echo(check_line(checked))
            if model.advice:
                echo(f"{model.folder}: {model.advice}")
        echo("restart the server; a catalog of an embedder that is not served has to be built or embedded again")


def _present_configuration(repository: Path, folder: str) -> str:
    """The text of a model's `config.pbtxt`, and that of its role for a new folder."""
    path = next((p for p in (_config_path(repository, f) for f in (folder, role_of(folder))) if p.exists()), None)
    if path is None:
        missing = _config_path(repository, role_of(folder))
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such file: {missing}; it says how Triton runs the model")
    return path.read_text(encoding="utf-8")


def _config_path(repository: Path, folder: str) -> Path:
    """The `config.pbtxt` with which the engine would serve a model; it may be missing."""
    embedded = embedded_checks()
    return embedded.model_config(repository, folder) if embedded else repository / folder / "config.pbtxt"


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
    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        folder = add_embedder(place, name, onnx, preprocess, _check_embedder)
        echo(f"{folder}  added; build a catalog with: --embedder {folder.name}")


def _check_embedder(repository: Path, folder: str) -> None:
    """Raises `ModelError` or `SightlineError` for an embedder that a server would refuse."""
    _check_configuration(repository, check_one(inspect_embedder(repository, folder)))


@app.command()
def check(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Verify each model's hash, its output for known images, and its config.pbtxt as `sightline serve` does."""
    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        checked = [check_one(stored) for stored in inspect_all(place)]
        for model in checked:
            _check_configuration(place, model)
        found = [facts(c.stored) | {"deviation": dict(c.deviation)} for c in checked]
        print_models(as_json, {"models": found}, map(check_line, checked))


def _check_configuration(repository: Path, checked: Checked) -> None:
    """Reads the model's specification as the server does.

    Raises `SightlineError` for what the server would refuse, and for the name of another model.
    """
    # Late, so that `pull` and `list` do not load Triton's client.
    from sightline_server.triton.specs import search_models
    from sightline_server.triton.stored import read_stored

    stored = checked.stored
    config = _config_path(repository, stored.folder)
    if not config.exists():
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such file: {config}; without it the model cannot be served")
    further = [stored.folder] if FOLDER.fullmatch(stored.folder) else []
    served = next(model for model in search_models(further) if model.role == stored.folder)
    spec = read_stored(served, config, checked.inputs, checked.outputs)
    if stored.state is State.READY and spec.name not in (stored.name, stored.folder):
        option = f" --folder {stored.folder}" if further else ""
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"{config}: it describes {spec.name}, and the file next to it is {stored.name}; "
            f"run `sightline models use {stored.name}{option}`",
        )


@app.command(name="list")
def list_models(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show the models in the repository and those that `models use` offers, with size, time, quality and licence."""
    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        stored = inspect_all(place)
        found = {"models": [facts(model) for model in stored], "offered": offered_facts(stored)}
        print_models(as_json, found, [*map(list_lines, stored), "", *offered_lines(stored)])
