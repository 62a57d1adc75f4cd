"""Runs `models adopt` on an exported model in memory, and the file that it wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from sightline_models.adding import add_embedder
from sightline_models.adopting import detector_parameters, place_detector
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.store import model_path
from sightline_server.cli.models import app
from sightline_server.cli.models_configuration import check_folder, present_configuration
from tests.support.exported_models import MEAN, STD, Floats, Pixels

LEVELS = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))
SAMPLES = {path.stem: path for path in (Path(__file__).resolve().parents[1] / "data" / "exported").glob("*.npz")}
"""The exports of PyTorch that `tests/congruence/exported_samples.py` made, by name."""
EXPORTED = {path.stem: path for path in (Path(__file__).resolve().parents[1] / "data/exported/command").glob("*.npz")}
"""The same models as `models export` wrote them, made by `tests/congruence/command_samples.py`."""
LABELS_OF_SAMPLES = tuple(f"label {number}" for number in range(7))


def adopt(repository: Path, model: onnx.ModelProto | bytes, *options: str, role: str = "embedder") -> Result:
    """Runs the command on the model, with ImageNet's levels and the name `mine`; later options count."""
    file = repository.parent / "exported.onnx"
    file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    arguments = ["adopt", str(file), "--role", role, "--name", "mine", *LEVELS, *options]
    return CliRunner().invoke(app, [*arguments, "--repository", str(repository)])


def adopt_sample(
    repository: Path, sample: Path, *options: str, replaced: Sequence[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Adopts a sample of `exported_samples.py`; returns its images and PyTorch's answers by output.

    Args:
        options: in addition to those of the sample.
        replaced: instead of those of the sample, but for the role.
    """
    with np.load(sample) as archive:
        stored = {name: archive[name] for name in archive.files}
    own = [str(each) for each in stored.pop("options")]
    own = own if replaced is None else [*own[:2], *replaced]
    if "detector" in own:
        labels = repository.parent / "sample_labels.txt"
        labels.write_text("\n".join(LABELS_OF_SAMPLES))
        own += ["--labels", str(labels), "--force"]
    done = adopt(repository, stored.pop("model").tobytes(), *own, *options)
    assert done.exit_code == 0, done.stderr
    return stored


def add_exported(repository: Path, name: str) -> Path:
    """Stores what `models export` wrote for a sample, as the command does; returns the folder."""
    with np.load(EXPORTED[name]) as archive:
        content, preprocess = archive["model"].tobytes(), str(archive["preprocess"])
    if "BOXES" not in np.load(SAMPLES[name]).files:
        return add_embedder(repository, name, Path(name), preprocess, check_folder, content=content)
    parameters = detector_parameters(name, preprocess, LABELS_OF_SAMPLES, None)
    config = present_configuration(repository, "detector")
    return place_detector(repository, Path(name), content, parameters, config, check_folder)


def distances(some: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]], image: int) -> NDArray[Any]:
    """For each row of `some` the difference of box and score to the nearest row of its label in `others`."""
    boxes = np.abs(some["BOXES"][image][:, None] - others["BOXES"][image][None]).max(axis=2)
    scores = np.abs(some["SCORES"][image][:, None] - others["SCORES"][image][None])
    other_label = some["LABELS"][image][:, None] != others["LABELS"][image][None]
    nearest: NDArray[Any] = np.where(other_label, np.inf, np.maximum(boxes, scores)).min(axis=1)
    return nearest


def answers(repository: Path, folder: str, images: Pixels) -> Mapping[str, NDArray[Any]]:
    """The answers of a stored model by output, through ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(model_path(repository, folder)), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def embed(repository: Path, crops: Pixels) -> Floats:
    """The embeddings [B, D] of the adopted embedder."""
    found: Floats = answers(repository, "embedder-mine", crops)["EMBEDDINGS"]
    return found
