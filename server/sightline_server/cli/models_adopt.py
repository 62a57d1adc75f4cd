"""`sightline models adopt`: a model that a training framework exported, wrapped into the contract and added.

Rule: a number that the file does not contain has no default here, because a wrong one gives wrong answers silently.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo
from sightline_models.adoption import (
    Activation,
    BoxFormat,
    Normalization,
    Pool,
    detector_head,
    parse_levels,
    parse_size,
)
from sightline_models.errors import ModelError
from sightline_models.places import default_repository, find_home
from sightline_server.cli.models_adopt_text import adopt_text
from sightline_server.cli.models_configuration import check_folder, present_configuration
from sightline_server.cli.models_options import Home, Repository
from sightline_server.cli.models_output import errors_on_one_line

_OF_DETECTOR = "--logits, --boxes, --labels, --activation, --box-format, --objectness, --vocabulary and --force"
_OF_TEXT_ENCODER = "--embedder, --tokenizer, --length, --lowercase and --pad-token"


class Role(StrEnum):
    """The roles that an exported model can have."""

    EMBEDDER = "embedder"
    DETECTOR = "detector"
    TEXT_ENCODER = "text_encoder"


def adopt(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="ONNX file whose input is float pixels, channels first, or token ids."),
    ],
    role: Annotated[Role, typer.Option(help="The role of the model.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; an embedder's folder is embedder-NAME.")] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of the channels after --scale; one number for all.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Standard deviation of the channels, as --mean.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Divisor of the levels 0..255; 1 keeps them (default: 255).")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Size of the input, where the file leaves it open.")
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(help="How an image gets its size: squash (the default), letterbox, center-crop or shortest-edge."),
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="JSON", help="All steps instead of --resize; docs/guide/models.md.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Output with the features, or with boxes and scores, where there are several.")
    ] = None,
    pool: Annotated[Pool | None, typer.Option(help="Embedder: from the output to one vector (default: none).")] = None,
    logits: Annotated[str | None, typer.Option(help="Detector: output [B, rows, classes].")] = None,
    boxes: Annotated[str | None, typer.Option(help="Detector: output [B, rows, 4].")] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Detector: a label a line, or JSON with `id2label`.")
    ] = None,
    activation: Annotated[
        Activation | None, typer.Option(help="Detector: from scores to probabilities (default: sigmoid with --logits).")
    ] = None,
    box_format: Annotated[
        BoxFormat | None,
        typer.Option(help="Detector: form of a box (default: cxcywh with --boxes, else cxcywh-pixels)."),
    ] = None,
    objectness: Annotated[
        bool, typer.Option("--objectness", help="Detector: --output has a score for any object after the box.")
    ] = False,
    vocabulary: Annotated[
        str | None, typer.Option(metavar="JSON", help="Detector: the meaning of labels; docs/guide/models.md.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Detector: replace a model that is not one of this package.")] = False,
    embedder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Text encoder: folder of the embedder it belongs to.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Text encoder: the model's tokenizer.json.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=2, max=4096, help="Text encoder: tokens of a text, 64 for SigLIP2, 77 for CLIP.")
    ] = None,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Text encoder: texts become lower case first, as SigLIP2 needs.")
    ] = False,
    pad_token: Annotated[
        str | None, typer.Option(help="Text encoder: the token that fills up, where the tokenizer states none.")
    ] = None,
    repository: Repository = None,
    home: Home = None,
) -> None:
    """Wrap an exported ONNX file into the contract and serve it, after the checks of `check`.

    An embedder is added to those of the repository, a text encoder next to the embedder that it belongs to; a detector
    replaces the present one. docs/guide/models.md and docs/guide/text.md have a
    command for each family of models.
    """
    # Late, so that the other commands do not load onnx.
    from sightline_models.adopting import adopt_detector, adopt_embedder, means_people
    from sightline_models.label_files import read_labels

    with errors_on_one_line():
        place = repository or default_repository(home or find_home())
        if role is Role.TEXT_ENCODER:
            others = {
                "--name": name,
                "--mean": mean,
                "--std": std,
                "--scale": scale,
                "--size": size,
                "--resize": resize,
                "--preprocess": preprocess,
                "--pool": pool,
                "--logits": logits,
                "--boxes": boxes,
                "--labels": labels,
                "--activation": activation,
                "--box-format": box_format,
                "--objectness": objectness or None,
                "--vocabulary": vocabulary,
                "--force": force or None,
            }
            own = (place, file, embedder, tokenizer, length, others)
            adopt_text(*own, output=output, lowercase=lowercase, pad_token=pad_token)
            return
        if embedder or tokenizer or length or lowercase or pad_token:
            raise ModelError(f"only a text encoder has the options {_OF_TEXT_ENCODER}; leave them out")
        if name is None or mean is None or std is None:
            raise ModelError("a model of images needs --name, --mean and --std")
        levels = (parse_levels("--mean", mean), parse_levels("--std", std))
        normalization = Normalization(*levels) if scale is None else Normalization(*levels, scale)
        found = None if size is None else parse_size(size)
        of_detector = (logits, boxes, labels, activation, box_format, objectness or None, vocabulary, force or None)
        if role is Role.EMBEDDER:
            if any(each is not None for each in of_detector):
                raise ModelError(f"an embedder has none of the options {_OF_DETECTOR}; leave them out")
            folder = adopt_embedder(
                place,
                name,
                file,
                normalization,
                _preprocess(resize, preprocess),
                check_folder,
                output=output,
                pool=pool or Pool.NONE,
                size=found,
            )
            echo(f"{folder}  added; build a catalog with: --embedder {folder.name}")
            return
        if pool is not None or labels is None:
            raise ModelError("a detector needs --labels FILE and has no --pool")
        words = read_labels(labels)
        folder = adopt_detector(
            place,
            name,
            file,
            normalization,
            _preprocess(resize, preprocess),
            check_folder,
            head=detector_head(logits, boxes, output, activation, box_format, objectness=objectness),
            labels=words,
            vocabulary=vocabulary,
            config=present_configuration(place, "detector"),
            size=found,
            force=force,
        )
        if not means_people(words, vocabulary):
            echo(f"{folder}  no label means a person, so people are searched like products; see --vocabulary")
        echo(f"{folder}  {name} is in place; restart the server")


def _preprocess(resize: str | None, preprocess: str | None) -> str:
    """The JSON of `config.pbtxt`. Raises `ModelError` where both options are given."""
    if resize is not None and preprocess is not None:
        raise ModelError("--preprocess has all steps; put `resize` into it and leave --resize out")
    return preprocess if preprocess is not None else json.dumps({"resize": resize or "squash"})
