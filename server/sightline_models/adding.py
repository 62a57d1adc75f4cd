"""`models add`: an ONNX file as a further embedder of the model repository.

Place in the flow: file -> a folder aside, checked -> `<repository>/embedder-NAME`. The one rule: the folder appears
whole and checked, or not at all, because a server serves whatever is there at its next start.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline_models.embedders import FIRST, FOLDER
from sightline_models.errors import ModelError
from sightline_models.offered import by_name
from sightline_models.sources import sha256_of
from sightline_models.store import model_path

CONFIG = """\
# An embedder: CROPS UINT8 [B,h,w,3] -> EMBEDDINGS FP32 [B,D]. Names, types and sizes of the tensors come from the ONNX
# file. The parameters must be true of that file; docs/guide/models.md explains them.
backend: "onnxruntime"
max_batch_size: 64

# A GPU where Triton sees one, else the CPU.
instance_group [ {{ count: 1 kind: KIND_AUTO }} ]

dynamic_batching {{ max_queue_delay_microseconds: 0 }}

# Threads of one call on the CPU; 0 is all cores, joined for an image that is alone, shared by the images of a batch.
parameters {{ key: "intra_op_thread_count" value {{ string_value: "0" }} }}

parameters {{ key: "name" value {{ string_value: {name} }} }}
parameters {{ key: "preprocess" value {{ string_value: {preprocess} }} }}
"""


Check = Callable[[Path, str], None]
"""Given a repository and a folder in it, raises when a server would refuse the model."""


def add_embedder(
    repository: Path, name: str, onnx: Path, preprocess: str, check: Check, *, content: bytes | None = None
) -> Path:
    """Adds the ONNX file as the embedder `name`; returns its folder.

    Args:
        onnx: the file, which errors name; with `content` any name of its origin.
        preprocess: JSON, as `config.pbtxt` has it.
        content: bytes that are written instead of those of the file.

    Raises:
        ModelError: the name cannot be used or is taken, no such file, or text that is not JSON; what `check` raises.
    """
    folder = free_folder(repository, name)
    require(content is not None or onnx.is_file(), f"no such file: {onnx}")
    require(is_json_object(preprocess), f"--preprocess {preprocess!r} is not a JSON object")
    with set_aside(repository, folder, onnx) as aside:
        write(aside / folder, name, onnx.read_bytes() if content is None else content, preprocess)
        check(aside, folder)
        os.replace(aside / folder, repository / folder)
    return repository / folder


@contextmanager
def set_aside(repository: Path, folder: str, onnx: Path) -> Iterator[Path]:
    """A second repository for a model that is not checked yet, on the same file system; removed at the end.

    Errors about the copy in `folder` name the file `onnx` that it was made from.
    """
    aside = repository / f".adding-{os.getpid()}"
    try:
        yield aside
    except ModelError as error:
        # The copy is gone by now.
        raise ModelError(str(error).replace(str(model_path(aside, folder)), str(onnx))) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def free_folder(repository: Path, name: str) -> str:
    """The name of the folder of the embedder `name`. Raises ModelError where it cannot be used or is taken."""
    require_name(FIRST, name)
    folder = f"embedder-{name}"
    require(not os.path.lexists(repository / folder), f"{repository / folder} is there already; choose another name")
    return folder


def require_name(role: str, name: str) -> None:
    """Raises ModelError unless a model of the operator's own may have this name."""
    fits = FOLDER.fullmatch(f"embedder-{name}") is not None
    require(fits, f"{name!r} cannot be a name: use letters, digits, '.', '-' and '_'")
    require(by_name(role, name) is None, f"{name} is the name of a model of this package; choose another name")


def write(folder: Path, name: str, onnx: bytes, preprocess: str) -> None:
    """Writes the files of an embedder into `folder`, which does not exist yet."""
    version = folder / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(onnx)
    facts = {"name": name, "version": "1", "sha256": sha256_of(version / "model.onnx")}
    (version / "model.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    config = CONFIG.format(name=json.dumps(name), preprocess=json.dumps(preprocess))
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")


def is_json_object(text: str) -> bool:
    """Returns whether `text` is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def require(holds: bool, message: str) -> None:
    """Raises `ModelError` with `message` unless the condition holds."""
    if not holds:
        raise ModelError(message)
