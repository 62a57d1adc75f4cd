"""What is where in each photo: truth.json, kept photo by photo.

One rule: a box is measured on the renderer's own object mask, in the upright picture, never guessed from the plan.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SMALLEST = 0.1
"""A product of which less than this fraction can be seen is left out."""


def measured(mask: Any, full: Mapping[int, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """Boxes and visible fractions from `mask` [h,w] of object numbers (1 is names[0]).

    `full` is the number of mask pixels that each object would cover if nothing hid it and the frame had no edge.
    """
    height, width = mask.shape
    found = []
    for number, name in enumerate(names, start=1):
        rows, columns = np.nonzero(mask == number)
        visible = min(1.0, len(rows) / full[number]) if full[number] else 0.0
        if visible < SMALLEST:
            continue
        box = [columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height]
        found.append({"product_id": name, "box": [round(float(v), 4) for v in box], "visible": round(visible, 3)})
    return found


def load(folder: Path) -> list[dict[str, Any]]:
    """The truth kept in `folder`, for the photos that exist; empty when there is none."""
    path = folder / "truth.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [entry for entry in kept if (folder / entry["photo"]).exists()]


def keep(folder: Path, name: str, size: tuple[int, int], objects: list[dict[str, Any]]) -> None:
    """Put the truth of photo `name`, upright `size` (width, height), into truth.json; safe beside other renderers."""
    _rewrite(folder, [{"photo": f"photos/{name}.jpg", "width": size[0], "height": size[1], "objects": objects}])


def prune(folder: Path) -> None:
    """Drop what truth.json says about photos that are gone."""
    _rewrite(folder, [])


def _rewrite(folder: Path, new: list[dict[str, Any]]) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        entries = {entry["photo"]: entry for entry in [*load(folder), *new]}
        lines = [json.dumps(entries[photo]) for photo in sorted(entries)]
        partial = folder / f"truth.partial-{os.getpid()}"
        partial.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
        partial.replace(folder / "truth.json")
    finally:
        os.close(handle)
