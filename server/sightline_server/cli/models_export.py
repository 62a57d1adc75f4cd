"""`sightline models export`: a model of transformers or timm, exported from PyTorch and served or written to a file.

Rule: what a model's files state is not asked for; what they leave open is, and nothing is assumed for it.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console.terminal import echo
from sightline_models.adoption import Normalization, Pool, Size, parse_levels, parse_size
from sightline_models.embedders import FIRST, text_folder_of
from sightline_models.errors import ModelError
from sightline_models.export_source import ExportSource, parse_source
from sightline_models.places import default_repository, find_home
from sightline_server.cli.models_adopt import Role
from sightline_server.cli.models_configuration import check_folder, present_configuration
from sightline_server.cli.models_options import Home, Repository
from sightline_server.cli.models_output import errors_on_one_line

if TYPE_CHECKING:
    from sightline_models.exporting import TextExport

TOLERANCE = 1e-6
"""The largest difference from PyTorch; networks of the tests differ by 4e-7."""

_Stated = tuple[Size | None, Normalization | None, str | None]
"""The operator's own steps: size, levels, and preprocess as JSON."""


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="HF-ID|DIR|timm:NAME", help="Model of the Hugging Face hub (@REVISION), folder, or model of timm."
        ),
    ],
    role: Annotated[Role, typer.Option(help="The role of the model.")],
    name: Annotated[str | None, typer.Option(help="Name of the model (default: the last part of its source).")] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this ONNX file and leave the repository as it is.")
    ] = None,
    pool: Annotated[
        Pool | None,
        typer.Option(help="Embedder: from the network to one vector (default: none, the model's own vector)."),
    ] = None,
    projection: Annotated[
        bool, typer.Option("--projection", help="Embedder of timm: keep the last layer, as towers of CLIP need.")
    ] = False,
    text: Annotated[
        bool,
        typer.Option("--text", help="Embedder: add the text tower of the same model, with its tokenizer, as well."),
    ] = False,
    mean: Annotated[str | None, typer.Option(metavar="R,G,B", help="Mean instead of that of the processor.")] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="Standard deviation, as --mean.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Divisor of the levels 0..255, with --mean (default: 255).")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Size of the input instead of that of the processor.")
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="JSON", help="Steps instead of those of the processor; docs/guide/models.md.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Detector: labels instead of those of the model.")
    ] = None,
    vocabulary: Annotated[
        str | None, typer.Option(metavar="JSON", help="Detector: the meaning of labels; docs/guide/models.md.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference from PyTorch's answers with which the file is kept.")
    ] = TOLERANCE,
    force: Annotated[bool, typer.Option(help="Detector: replace a model that is not one of this package.")] = False,
    repository: Repository = None,
    home: Home = None,
) -> None:
    """Export a model of transformers or timm, compare the file with PyTorch, and serve it.

    It needs PyTorch, in a separate environment with the extras cpu and export. Mean, standard deviation, size and steps
    come from the model's own files. An embedder is added to those of the repository; a detector replaces the present
    one.
    """
    with errors_on_one_line():
        read = parse_source(source)
        target = _Target(name or read.model_name(), to, repository or default_repository(home or find_home()))
        target.require_new_file()
        if not tolerance > 0:
            raise ModelError(f"--tolerance {tolerance:g} must be above 0")
        stated = (None if size is None else parse_size(size), _normalization(mean, std, scale), preprocess)
        if role is Role.TEXT_ENCODER:
            raise ModelError("a text encoder is exported with its embedder: use --role embedder --text")
        if role is Role.EMBEDDER:
            if labels is not None or vocabulary is not None or force:
                raise ModelError("an embedder has none of the options --labels, --vocabulary and --force")
            texts = _export_text_tower(read, target, pool or Pool.NONE, tolerance=tolerance) if text else None
            _export_embedder(read, target, stated, pool or Pool.NONE, projection=projection, tolerance=tolerance)
            if texts is not None:
                _add_text_encoder(read, target, texts)
            return
        if pool is not None or projection or text:
            raise ModelError("a detector has none of the options --pool, --projection and --text")
        _export_detector(read, target, stated, labels, vocabulary, tolerance=tolerance, force=force)


@dataclass(frozen=True, slots=True)
class _Target:
    """The name of the model, and the file or the repository that gets it."""

    name: str
    file: Path | None
    repository: Path

    def require_new_file(self) -> None:
        """Raises ModelError for a file that is there already, or whose folder is not."""
        if self.file is not None and (self.file.exists() or not self.file.parent.is_dir()):
            problem = "is there already" if self.file.exists() else "cannot be written, because its folder is missing"
            raise ModelError(f"--to {self.file} {problem}; name another file")


def _export_embedder(
    source: ExportSource, target: _Target, stated: _Stated, pool: Pool, *, projection: bool, tolerance: float
) -> None:
    # Late, so that the other commands do not load onnx.
    from sightline_models.adding import add_embedder, free_folder
    from sightline_models.exporting import StatedSteps, export_embedder

    if target.file is None:
        free_folder(target.repository, target.name)
    done = export_embedder(source, pool, StatedSteps(*stated), projection=projection, tolerance=tolerance)
    compared = _comparison(done.differences)
    if target.file is not None:
        _write(target.file, done.content)
        echo(f"{target.file}  written; {compared}. Where it is served, run:")
        words = ("sightline", "models", "add", target.name, str(target.file), "--preprocess", done.steps.preprocess)
        echo(shlex.join(words))
        return
    origin, preprocess = Path(source.text), done.steps.preprocess
    folder = add_embedder(target.repository, target.name, origin, preprocess, check_folder, content=done.content)
    echo(f"{folder}  added; {compared}; build a catalog with: --embedder {folder.name}")


def _export_text_tower(source: ExportSource, target: _Target, pool: Pool, *, tolerance: float) -> "TextExport":
    """The text tower, before its embedder is added. Raises ModelError where it could not be put next to that."""
    from sightline_models.exporting import export_text_encoder

    if target.file is not None:
        raise ModelError(
            "--text writes two folders of the repository, and --to one file; leave --to out, export into --repository "
            "DIR, and copy both folders where they are served"
        )
    if pool is not Pool.NONE:
        raise ModelError(f"--pool {pool} gives vectors that texts cannot be compared with; leave it out with --text")
    folder = target.repository / text_folder_of(f"{FIRST}-{target.name}")
    if folder.exists():
        raise ModelError(f"{folder} is there already; choose another name, or remove it")
    return export_text_encoder(source, tolerance=tolerance)


def _add_text_encoder(source: ExportSource, target: _Target, done: "TextExport") -> None:
    from sightline_models.adopting_text import add_text_encoder

    embedder, origin = f"{FIRST}-{target.name}", Path(source.text)
    folder = add_text_encoder(target.repository, embedder, origin, done.content, done.tokenizer, check_folder)
    echo(f"{folder}  added; {_comparison(done.differences)}; searches of catalogs of {embedder} take a text")


def _export_detector(
    source: ExportSource,
    target: _Target,
    stated: _Stated,
    labels: Path | None,
    vocabulary: str | None,
    *,
    tolerance: float,
    force: bool,
) -> None:
    from sightline_models.adopting import detector_parameters, means_people, place_detector, require_detector
    from sightline_models.configuration import parameter_lines
    from sightline_models.exporting import StatedSteps, export_detector
    from sightline_models.label_files import read_labels

    own = None if labels is None else read_labels(labels)
    # The file of `--to` replaces nothing.
    require_detector(target.repository, target.name, vocabulary, force=force or target.file is not None)
    done = export_detector(source, StatedSteps(*stated), tolerance=tolerance)
    if own is not None and len(own) != len(done.labels):
        raise ModelError(f"--labels has {len(own)} labels, and the model has {len(done.labels)} classes")
    words, compared = own or done.labels, _comparison(done.differences)
    parameters = detector_parameters(target.name, done.steps.preprocess, words, vocabulary)
    if target.file is not None:
        _write(target.file, done.content)
        echo(f"{target.file}  written; {compared}. Where it is served, it is detector/1/model.onnx, next to a")
        echo("model.json as docs/guide/models.md describes, and detector/config.pbtxt has:")
        echo(parameter_lines(parameters).rstrip())
        return
    config = present_configuration(target.repository, "detector")
    folder = place_detector(target.repository, Path(source.text), done.content, parameters, config, check_folder)
    if not means_people(words, vocabulary):
        echo(f"{folder}  no label means a person, so people are searched like products; see --vocabulary")
    echo(f"{folder}  {target.name} is in place; {compared}; restart the server")


def _normalization(mean: str | None, std: str | None, scale: float | None) -> Normalization | None:
    if mean is None and std is None and scale is None:
        return None
    if mean is None or std is None:
        raise ModelError("--mean and --std belong together, and --scale belongs to them")
    levels = (parse_levels("--mean", mean), parse_levels("--std", std))
    return Normalization(*levels) if scale is None else Normalization(*levels, scale)


def _write(file: Path, content: bytes) -> None:
    """Writes a file that appears whole or not at all."""
    partial = file.with_name(f".{file.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _comparison(differences: Mapping[str, float]) -> str:
    return f"matches PyTorch ({', '.join(f'{name} within {value:.1e}' for name, value in differences.items())})"
