"""`models adopt`: an exported ONNX file, wrapped into the contract, as a model of the repository.

Place in the flow: file -> `Exported` -> wrapped file -> what `models add` does. The one rule: the repository changes
only after the wrapped model has passed the checks of `models check`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from sightline_models.adding import Check, add_embedder, free_folder, is_json_object, require, require_name, set_aside
from sightline_models.adopted_detector import wrap_detector
from sightline_models.adopted_embedder import wrap_embedder
from sightline_models.adoption import Head, Normalization, Pool, Size
from sightline_models.coco import COCO_LABELS, COCO_VOCABULARY
from sightline_models.configuration import with_parameters
from sightline_models.defaults import DETECTOR
from sightline_models.exported import read_exported
from sightline_models.store import inspect, model_path, write_declared
from sightline_models.use import require_replaceable


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


def adopt_detector(
    repository: Path,
    name: str,
    onnx: Path,
    normalization: Normalization,
    preprocess: str,
    check: Check,
    *,
    head: Head,
    labels: tuple[str, ...],
    vocabulary: str | None,
    config: str,
    size: Size | None,
    force: bool,
) -> Path:
    """Wraps an exported detector and serves it in place of the present one; returns its folder.

    Args:
        preprocess, vocabulary: JSON, as `config.pbtxt` has them. Without a vocabulary labels of COCO get COCO's.
        config: text of the present `config.pbtxt`; its parameters of the model are replaced.
        size: of the input, where the file leaves it open.
        force: replace a model of the operator's own, or a file that nothing declares.

    Raises:
        ModelError: as `read_exported` and `wrap_detector`, a name or JSON that cannot be used; such a model without
            `force`; what `check` raises.
    """
    require_detector(repository, name, vocabulary, force=force)
    require(is_json_object(preprocess), f"--preprocess {preprocess!r} is not a JSON object")
    wrapped = wrap_detector(read_exported(onnx, size), normalization, head, labels)
    parameters = detector_parameters(name, preprocess, labels, vocabulary)
    return place_detector(repository, onnx, wrapped, parameters, config, check)


def require_detector(repository: Path, name: str, vocabulary: str | None, *, force: bool) -> None:
    """Raises ModelError where a detector of this name cannot replace the present one; see `adopt_detector`."""
    require_name(DETECTOR.folder, name)
    require(is_json_object(vocabulary or "{}"), f"--vocabulary {vocabulary!r} is not a JSON object")
    require_replaceable(inspect(repository, DETECTOR), model_path(repository, DETECTOR.folder), force=force)


def detector_parameters(
    name: str, preprocess: str, labels: tuple[str, ...], vocabulary: str | None
) -> Mapping[str, str]:
    """The parameters of `config.pbtxt` that belong to a detector; see `adopt_detector`."""
    words = json.loads(vocabulary) if vocabulary else vocabulary_of(labels)
    parameters = {"name": name, "preprocess": preprocess, "labels": json.dumps(labels)}
    return parameters | ({"vocabulary": json.dumps(words)} if words else {})


def place_detector(
    repository: Path, origin: Path, content: bytes, parameters: Mapping[str, str], config: str, check: Check
) -> Path:
    """Serves a file that keeps the contract in place of the present detector; returns its folder.

    Args:
        origin: the file that errors name.
        parameters: of `detector_parameters`.
        config: text of the present `config.pbtxt`; its parameters of the model are replaced.

    Raises:
        ModelError: what `check` raises.
    """
    folder = DETECTOR.folder
    config = with_parameters(config, parameters)
    declaration = {"name": parameters["name"], "version": "1", "sha256": hashlib.sha256(content).hexdigest()}
    with set_aside(repository, folder, origin) as aside:
        write_declared(aside, folder, declaration, content, config)
        check(aside, folder)
    write_declared(repository, folder, declaration, content, config)
    return repository / folder


def vocabulary_of(labels: tuple[str, ...]) -> Mapping[str, object]:
    """The vocabulary of COCO for its labels; none for others, to which the server applies its default."""
    return COCO_VOCABULARY if labels == COCO_LABELS else {}


def means_people(labels: tuple[str, ...], vocabulary: str | None) -> bool:
    """Returns whether one of the labels means a person to the server."""
    people = json.loads(vocabulary or "{}").get("people", COCO_VOCABULARY["people"])
    return not set(people).isdisjoint(labels)
