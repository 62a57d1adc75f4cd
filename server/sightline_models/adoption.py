"""The values that say how an exported model is wrapped into the contract.

Place in the flow: command -> these values -> `exported`, `adopted_embedder`, `adopted_detector`. The one rule: nothing
here needs onnx, so that the command line starts without it.
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


class Activation(StrEnum):
    """The way from the numbers of a detector's head to a probability for each class."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    """Probabilities over all classes; the last class means no object."""
    NONE = "none"
    """They are probabilities already."""


class BoxFormat(StrEnum):
    """The numbers of a box, in parts of the image or in pixels of the input."""

    CENTRE = "cxcywh"
    CORNERS = "xyxy"
    CENTRE_PIXELS = "cxcywh-pixels"
    CORNERS_PIXELS = "xyxy-pixels"

    @property
    def centred(self) -> bool:
        """Returns whether a box is its centre and size, not two corners."""
        return self in (BoxFormat.CENTRE, BoxFormat.CENTRE_PIXELS)

    @property
    def in_pixels(self) -> bool:
        """Returns whether the numbers are pixels of the input."""
        return self in (BoxFormat.CENTRE_PIXELS, BoxFormat.CORNERS_PIXELS)


@dataclass(frozen=True, slots=True)
class Head:
    """The outputs of a detector: `logits` and `boxes`, or both in one, which is `output` or the only one of the file.

    objectness: the one output has a score for any object between the box and the classes.
    """

    activation: Activation
    box_format: BoxFormat
    logits: str | None = None
    boxes: str | None = None
    output: str | None = None
    objectness: bool = False

    @property
    def joint(self) -> bool:
        """Returns whether one output has boxes and scores."""
        return self.logits is None


def detector_head(
    logits: str | None,
    boxes: str | None,
    output: str | None,
    activation: Activation | None,
    box_format: BoxFormat | None,
    *,
    objectness: bool,
) -> Head:
    """The head that options describe; what they leave out is usual for its form. Raises `ModelError` for a mixture."""
    if (logits is None) != (boxes is None):
        raise ModelError("--logits and --boxes belong together; a head with one output has --output instead")
    if logits is None:
        form = (activation or Activation.NONE, box_format or BoxFormat.CENTRE_PIXELS)
        if form[0] is Activation.SOFTMAX:
            raise ModelError("--activation softmax is for a head with --logits and --boxes")
        return Head(*form, output=output, objectness=objectness)
    if output is not None or objectness:
        raise ModelError("--output and --objectness are for a head with one output; leave --logits and --boxes out")
    return Head(activation or Activation.SIGMOID, box_format or BoxFormat.CENTRE, logits, boxes)


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
