"""`sightline models adopt`: a model that a training framework exported, wrapped into the contract and added.

Rule: a number that the file does not contain has no default here, because a wrong one gives wrong answers silently.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo
from sightline_models.adoption import Normalization, Pool, parse_levels, parse_size
from sightline_models.errors import ModelError
from sightline_models.places import default_repository, find_home
from sightline_server.cli.models_configuration import check_folder
from sightline_server.cli.models_options import Home, Repository
from sightline_server.cli.models_output import errors_on_one_line


class Role(StrEnum):
    """The roles that an exported model can have."""

    EMBEDDER = "embedder"


def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX file: float pixels [batch, 3, height, width].")],
    role: Annotated[Role, typer.Option(help="The role of the model.")],
    name: Annotated[str, typer.Option(help="Name of the model; an embedder's folder is embedder-NAME.")],
    mean: Annotated[str, typer.Option(metavar="R,G,B", help="Mean of the channels after --scale; one number for all.")],
    std: Annotated[str, typer.Option(metavar="R,G,B", help="Standard deviation of the channels, as --mean.")],
    scale: Annotated[float, typer.Option(help="Divisor of the levels 0..255; 1 keeps them.")] = 255,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Size of the input, where the file leaves it open.")
    ] = None,
    resize: Annotated[str | None, typer.Option(help="How an image gets that size: squash (the default), ...")] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="JSON", help="All steps instead of --resize; docs/guide/models.md.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Output with the features, where there are several.")] = None,
    pool: Annotated[Pool, typer.Option(help="From that output to one vector an image.")] = Pool.NONE,
    repository: Repository = None,
    home: Home = None,
) -> None:
    """Wrap an exported ONNX file into the contract and add it, after the checks of `check`.

    docs/guide/models.md has a command for each family of models.
    """
    # Late, so that the other commands do not load onnx.
    from sightline_models.adopting import adopt_embedder

    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        normalization = Normalization(parse_levels("--mean", mean), parse_levels("--std", std), scale)
        folder = adopt_embedder(
            place,
            name,
            file,
            normalization,
            _preprocess(resize, preprocess),
            check_folder,
            output=output,
            pool=pool,
            size=None if size is None else parse_size(size),
        )
        echo(f"{folder}  added; build a catalog with: --embedder {folder.name}")


def _preprocess(resize: str | None, preprocess: str | None) -> str:
    """The JSON of `config.pbtxt`. Raises `ModelError` where both options are given."""
    if resize is not None and preprocess is not None:
        raise ModelError("--preprocess has all steps; put `resize` into it and leave --resize out")
    return preprocess if preprocess is not None else json.dumps({"resize": resize or "squash"})
