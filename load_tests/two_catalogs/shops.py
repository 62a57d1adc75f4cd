"""A model repository with a second embedder, and the showroom as two catalogs: one for each embedder.

    embedder (1280 numbers) -> projected on 256 directions, normalised -> embedder-256
Rule: the second embedder costs as much as the first, so that the figures are those of a shop that changes its model,
and its vectors cannot be taken for those of the first.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper

from load_tests.generator.photos import ROOT
from sightline_models.sources import sha256_of

FOLDER, DIMENSION = "embedder-256", 256
FEED = ROOT / "examples" / "showroom" / "feed.csv"
OUTPUT = "EMBEDDINGS"
COMMAND = Path(sys.executable).with_name("sightline")


@dataclass(frozen=True, slots=True)
class Shops:
    """The model repository and the two catalogs, by the names that requests give."""

    repository: Path
    catalogs: dict[str, Path]


@contextmanager
def two_shops(first: Path) -> Iterator[Shops]:
    """Both catalogs of the showroom for the length of the block; `first` is that of the first embedder."""
    with TemporaryDirectory(prefix="sightline-two-catalogs-") as folder:
        repository = two_embedders(Path(folder) / "models", ROOT / "model_repository")
        narrow = Path(folder) / "narrow"
        build = [str(COMMAND), "catalog", "build", str(FEED), "--out", str(narrow)]
        subprocess.run([*build, "--repository", str(repository), "--embedder", FOLDER], check=True, stdout=sys.stderr)
        yield Shops(repository, {"wide": first, "narrow": narrow})


def two_embedders(folder: Path, models: Path) -> Path:
    """A repository with the models of `models` and a second embedder; returns `folder`."""
    folder.mkdir()
    for name in ("detector", "embedder"):
        (folder / name).symlink_to(models / name)
    version = folder / FOLDER / "1"
    version.mkdir(parents=True)
    path = version / "model.onnx"
    onnx.save(projected(onnx.load(models / "embedder" / "1" / "model.onnx")), path)
    facts = {"name": FOLDER, "version": "1", "sha256": sha256_of(path)}
    path.with_suffix(".json").write_text(json.dumps(facts))
    config = (models / "embedder" / "config.pbtxt").read_text()
    (folder / FOLDER / "config.pbtxt").write_text(config.replace("efficientnet-lite2-260", FOLDER))
    return folder


def projected(model: onnx.ModelProto) -> onnx.ModelProto:
    """The embedder with `DIMENSION` numbers in place of all: projections on random orthogonal directions."""
    graph = model.graph
    (output,) = (each for each in graph.output if each.name == OUTPUT)
    width = output.type.tensor_type.shape.dim[1].dim_value
    for node in graph.node:
        node.output[:] = ["whole" if name == OUTPUT else name for name in node.output]
    directions, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((width, DIMENSION)))
    graph.initializer.append(numpy_helper.from_array(directions.astype(np.float32), "directions"))
    graph.node.append(helper.make_node("MatMul", ["whole", "directions"], ["projections"]))
    graph.node.append(helper.make_node("LpNormalization", ["projections"], [OUTPUT], axis=1, p=2))
    output.type.tensor_type.shape.dim[1].dim_value = DIMENSION
    onnx.checker.check_model(model)
    return model
