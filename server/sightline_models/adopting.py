"""`models adopt`: an exported ONNX file, wrapped into the contract, as a model of the repository.

Place in the flow: file -> `Exported` -> wrapped file -> what `models add` does. The one rule: the repository changes
only after the wrapped model has passed the checks of `models check`.
"""

from __future__ import annotations

from pathlib import Path

from sightline_models.adding import Check, add_embedder, free_folder
from sightline_models.adopted_embedder import wrap_embedder
from sightline_models.adoption import Normalization, Pool, Size
from sightline_models.exported import read_exported


def adopt_embedder(
    repository: Path,
    name: str,
    onnx: Path,
    normalization: Normalization,
    preprocess: str,
    check: Check,
    *,
    output: str | None,
    pool: Pool,
    size: Size | None,
) -> Path:
    """Wraps an exported image tower and adds it as the embedder `name`; returns its folder.

    Args:
        preprocess: JSON, as `config.pbtxt` has it.
        output: name of the tower's output; None is the only one.
        size: of the input, where the file leaves it open.

    Raises:
        ModelError: as `read_exported`, `wrap_embedder` and `add_embedder`.
    """
    free_folder(repository, name)
    wrapped = wrap_embedder(read_exported(onnx, size), normalization, output, pool)
    return add_embedder(repository, name, onnx, preprocess, check, content=wrapped)
