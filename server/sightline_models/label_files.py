"""The labels of an exported detector, from a file that comes with it.

Place in the flow: file -> words for the label indices. The one rule: the order of the file is that of the classes.
"""

from __future__ import annotations

import json
from pathlib import Path

from sightline_models.errors import ModelError


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a file: a line for each, or JSON: a list, or an object whose `id2label` has them by their index.

    Raises:
        ModelError: no such file, or one without labels.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ModelError(f"no such file: {path}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is not UTF-8 text") from error
    labels = _from_json(path, text) if path.suffix == ".json" else [line.strip() for line in text.rstrip().split("\n")]
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise ModelError(f"{path}: must have a label for each class and no empty one")
    return tuple(labels)


def _from_json(path: Path, text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path}: is not JSON") from error
    by_index = found.get("id2label") if isinstance(found, dict) else None
    if isinstance(by_index, dict):
        indices = [str(index) for index in range(len(by_index))]
        if set(by_index) != set(indices):
            raise ModelError(f"{path}: `id2label` must have the indices 0 to {len(by_index) - 1}")
        found = [by_index[index] for index in indices]
    if not isinstance(found, list):
        raise ModelError(f"{path}: must be a JSON list of labels, or an object with `id2label`")
    return found
