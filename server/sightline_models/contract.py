"""The interface that every model must have, by its role.

Place in the flow: read by the check, documented in `docs/guide/models.md`. The one rule: sizes, dimension and
number of boxes are the model's own; names, types, ranks and ranges are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sightline_models.errors import ModelError

_LENGTH_TOLERANCE = 1e-3

Array = npt.NDArray[Any]
Shape = Sequence[int | str | None]
"""Sizes as ONNX Runtime describes them; a dimension is a number, or a name when it is dynamic."""


class Tensor(Protocol):
    """An input or output as ONNX Runtime describes it."""

    name: str
    type: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class InputForm:
    """The form of the one input: ONNX Runtime's name of the type, the shapes that fit, and both as errors show them."""

    type: str
    fits: Callable[[Shape], bool]
    words: str


def _is_image_batch(shape: Shape) -> bool:
    if len(shape) != 4:
        return False
    batch, height, width, channels = shape
    return not isinstance(batch, int) and isinstance(height, int) and isinstance(width, int) and channels == 3


def _is_token_batch(shape: Shape) -> bool:
    return len(shape) == 2 and not isinstance(shape[0], int) and isinstance(shape[1], int)


IMAGES = InputForm("tensor(uint8)", _is_image_batch, "uint8 [batch, height, width, 3]")
TOKENS = InputForm("tensor(int64)", _is_token_batch, "int64 [batch, length]")


@dataclass(frozen=True, slots=True)
class Contract:
    """Tensors by name with ONNX Runtime's word for the type and the rank, and what the values must keep."""

    input: str
    outputs: Mapping[str, tuple[str, int]]
    values: Callable[[Mapping[str, Array]], str]
    form: InputForm = IMAGES

    def require_tensors(self, path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Raises ModelError unless the input has its form and every output is as stated, batch dynamic."""
        found_input = next((tensor for tensor in inputs if tensor.name == self.input), None)
        if found_input is None or len(inputs) != 1:
            raise ModelError(f"{path}: must have the one input {self.input}, has {[t.name for t in inputs]}")
        if found_input.type != self.form.type or not self.form.fits(found_input.shape):
            form = f"{found_input.type} {found_input.shape}"
            raise ModelError(f"{path}: {self.input} must be {self.form.words}, is {form}")
        found = {tensor.name: (tensor.type, len(tensor.shape)) for tensor in outputs}
        for name, wanted in self.outputs.items():
            if found.get(name) != wanted:
                raise ModelError(f"{path}: output {name} must be {wanted[0]} of rank {wanted[1]}, has {found}")

    def require_answers(self, model: str, answers: Mapping[str, Array]) -> None:
        """Raises ModelError when values are not finite or out of their range."""
        wrong = next((f"{name} is not finite" for name, a in answers.items() if not np.isfinite(a).all()), "")
        wrong = wrong or self.values(answers)
        if wrong:
            raise ModelError(f"{model}: {wrong}")


def _detector_values(answers: Mapping[str, Array]) -> str:
    boxes, scores, labels = answers["BOXES"], answers["SCORES"], answers["LABELS"]
    if boxes.shape != (*scores.shape, 4) or labels.shape != scores.shape:
        return f"BOXES {boxes.shape}, SCORES {scores.shape} and LABELS {labels.shape} do not fit together"
    if boxes.min() < 0 or boxes.max() > 1:
        return "BOXES leave 0..1"
    if scores.min() < 0 or scores.max() > 1:
        return "SCORES leave 0..1"
    return "LABELS are negative" if labels.min() < 0 else ""


def _embedder_values(answers: Mapping[str, Array]) -> str:
    lengths = np.linalg.norm(answers["EMBEDDINGS"], axis=1)
    return "EMBEDDINGS are not of length 1" if np.abs(lengths - 1).max() > _LENGTH_TOLERANCE else ""


def _text_detector_values(answers: Mapping[str, Array]) -> str:
    # Each of its levels is a probability.
    return ""


def _text_reader_values(answers: Mapping[str, Array]) -> str:
    characters, probabilities = answers["CHARACTERS"], answers["PROBABILITIES"]
    if characters.shape != probabilities.shape:
        return f"CHARACTERS {characters.shape} and PROBABILITIES {probabilities.shape} do not fit together"
    if probabilities.min() < 0 or probabilities.max() > 1 + _LENGTH_TOLERANCE:
        return "PROBABILITIES leave 0..1"
    return "CHARACTERS are negative" if characters.min() < 0 else ""


CONTRACTS: Mapping[str, Contract] = {
    "detector": Contract(
        input="IMAGES",
        outputs={"BOXES": ("tensor(float)", 3), "SCORES": ("tensor(float)", 2), "LABELS": ("tensor(int32)", 2)},
        values=_detector_values,
    ),
    "embedder": Contract(input="CROPS", outputs={"EMBEDDINGS": ("tensor(float)", 2)}, values=_embedder_values),
    "text_detector": Contract(input="IMAGES", outputs={"TEXT": ("tensor(uint8)", 3)}, values=_text_detector_values),
    "text_reader": Contract(
        input="LINES",
        outputs={"CHARACTERS": ("tensor(int32)", 2), "PROBABILITIES": ("tensor(float)", 2)},
        values=_text_reader_values,
    ),
    "text_encoder": Contract(
        input="TOKENS", outputs={"EMBEDDINGS": ("tensor(float)", 2)}, values=_embedder_values, form=TOKENS
    ),
}
