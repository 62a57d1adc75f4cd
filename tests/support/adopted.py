"""Runs `models adopt` on an exported model in memory, and the file that it wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from sightline_models.onnx_runtime import onnxruntime
from sightline_models.store import model_path
from sightline_server.cli.models import app
from tests.support.exported_models import MEAN, STD, Floats, Pixels

LEVELS = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))


def adopt(repository: Path, model: onnx.ModelProto | bytes, *options: str, role: str = "embedder") -> Result:
    """Runs the command on the model, with ImageNet's levels and the name `mine`; later options count."""
    file = repository.parent / "exported.onnx"
    file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    arguments = ["adopt", str(file), "--role", role, "--name", "mine", *LEVELS, *options]
    return CliRunner().invoke(app, [*arguments, "--repository", str(repository)])


def answers(repository: Path, folder: str, images: Pixels) -> Mapping[str, NDArray[Any]]:
    """The answers of a stored model by output, through ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(model_path(repository, folder)), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def embed(repository: Path, crops: Pixels) -> Floats:
    """The embeddings [B, D] of the adopted embedder."""
    found: Floats = answers(repository, "embedder-mine", crops)["EMBEDDINGS"]
    return found
