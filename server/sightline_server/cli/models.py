"""`sightline models pull | use | add | adopt | export | check | list`.

Rule: a failure is one line on stderr and exit code 1; what a program reads (`--json`) is alone on stdout.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sightline_console.terminal import echo
from sightline_models.adding import add_embedder
from sightline_models.check import check_one
from sightline_models.defaults import DEFAULT_MODELS, DefaultModel
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.offered import chosen
from sightline_models.places import default_repository, find_home
from sightline_models.pull import Progress, Step, compile_default, downloads_of
from sightline_models.pull import pull as pull_models
from sightline_models.store import inspect, inspect_all
from sightline_models.taken import Taking
from sightline_models.use import in_folder
from sightline_models.use import use as use_model
from sightline_server.app.embedded import compare_precisions
from sightline_server.cli.models_adopt import adopt
from sightline_server.cli.models_configuration import (
    check_configuration,
    check_folder,
    check_pairs,
    present_configuration,
)
from sightline_server.cli.models_export import export
from sightline_server.cli.models_options import Home, Repository
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
from sightline_server.cli.models_times import timed, times_line

app = typer.Typer(
    name="models",
    help="Fetch models, choose among them and add embedders; check and list all models.",
    add_completion=False,
    no_args_is_help=True,
)

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
        taking = Taking(folder and downloads_of(folder))
        if names:
            fetched = _fetch(names, folder, force=force)
            echo(f"models: {taking.done(fetched).line()}")
            return
        place = repository or default_repository(folder)
        with reporting(Console(stderr=True), DEFAULT_MODELS) as report:
            stored = pull_models(place, folder, report, force=force)
        if folder is not None:
            compare_precisions(folder, place, [model.folder for model in DEFAULT_MODELS], echo)
        known = [each.default for each in stored if each.default is not None]
        echo(f"models: {taking.done(known, [each.path for each in stored]).line()}")


def _fetch(names: list[str], home: Path | None, *, force: bool) -> list[DefaultModel]:
    """Fetches named models and returns them; nothing in the repository changes."""
    if force:
        raise ModelError("--force is for the models of the repository; it has no meaning with NAMES")
    if home is None:
        raise NoHomeError
    models = chosen(names)
    with reporting(Console(stderr=True), models) as report:
        for model in models:
            compile_default(model, downloads_of(home), report)
            report(Progress(model, Step.DONE))
    return models


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
        before = {model.folder: timed(place, model) for model in models}
        with reporting(Console(stderr=True), models) as report:
            for model in models:
                use_model(place, kept, model, present_configuration(place, model.folder), report, force=force)
        for model in models:
            checked = check_one(inspect(place, model))
            check_configuration(place, checked)
            echo(check_line(checked))
            lines = [times_line(model.folder, before[model.folder], timed(place, model))]
            if model.advice:
                lines.append(f"{model.folder}: {model.advice}")
            for line in filter(None, lines):
                echo(line)
        if kept is not None:
            compare_precisions(kept, place, [model.folder for model in models], echo)
        echo("restart the server; a catalog of an embedder that is not served has to be built or embedded again")


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
        folder = add_embedder(place, name, onnx, preprocess, check_folder)
        echo(f"{folder}  added; build a catalog with: --embedder {folder.name}")


app.command()(adopt)
app.command()(export)


@app.command()
def check(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Verify each model's hash, its output for known images, and its config.pbtxt as `sightline serve` does."""
    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        checked = [check_one(stored) for stored in inspect_all(place)]
        for model in checked:
            check_configuration(place, model)
        check_pairs(place, checked)
        found = [facts(c.stored) | {"deviation": dict(c.deviation)} for c in checked]
        print_models(as_json, {"models": found}, map(check_line, checked))


@app.command(name="list")
def list_models(repository: Repository = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show the models in the repository and those that `models use` offers, with size, time, quality and licence."""
    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        stored = inspect_all(place)
        found = {"models": [facts(model) for model in stored], "offered": offered_facts(stored)}
        print_models(as_json, found, [*map(list_lines, stored), "", *offered_lines(stored)])
