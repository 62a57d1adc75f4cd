"""The values that say how an exported model is wrapped into the contract.

Place in the flow: command -> these values -> `exported`, `adopted_embedder`. The one rule: nothing here needs onnx, so
that the command line starts without it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from sightline_models.errors import ModelError

_MAX_LEVEL = 255

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """(level / scale - mean) / std, with a mean and a standard deviation for red, green and blue.

    Raises:
        ModelError: values that no network can have been trained with.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = float(_MAX_LEVEL)

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.mean, *self.std, self.scale))):
            raise ModelError("mean, std and scale must be finite numbers")
        if self.scale <= 0 or min(self.std) <= 0:
            raise ModelError(f"scale and std must be above 0, are {self.scale:g} and {self.std}")
        largest = _MAX_LEVEL / self.scale
        if max(self.mean) > largest:
            raise ModelError(
                f"mean {max(self.mean):g} is above the largest pixel, which is {largest:g} after the division by the "
                f"scale {self.scale:g}; where the mean is one of levels 0..255, the scale is 1"
            )


class Pool(StrEnum):
    """The way from an output to one vector for each image."""

    NONE = "none"
    """The output is [B, D] already."""
    CLS = "cls"
    """The first token of [B, tokens, D]."""
    MEAN = "mean"
    """The mean of all tokens of [B, tokens, D], or of all positions of a map [B, D, rows, columns]."""


def parse_levels(option: str, text: str) -> tuple[float, float, float]:
    """Three numbers, or one for all channels. Raises `ModelError` for another text."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise ModelError(f"{option} {text!r} must be three numbers such as 0.485,0.456,0.406, or one for all channels")
    red, green, blue = numbers * (3 // len(numbers))
    return red, green, blue


def parse_size(text: str) -> Size:
    """`224` or `480x640` (height x width). Raises ModelError for another text."""
    match = re.fullmatch(r"([1-9][0-9]{0,3})(?:x([1-9][0-9]{0,3}))?", text)
    if match is None:
        raise ModelError(f"--size {text!r} must be a number of pixels such as 224, or HEIGHTxWIDTH such as 480x640")
    return int(match[1]), int(match[2] or match[1])
