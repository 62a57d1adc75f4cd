"""The steps from an image to a network's pixels, as the files of a training framework state them.

Place in the flow: `preprocessor_config.json` of transformers, or the data configuration of timm -> `InputSteps` -> the
first nodes of an export and the `preprocess` of `config.pbtxt`. The one rule: what the server cannot do exactly is not
approximated; it stays open, and the operator states it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline_models.adoption import Normalization, Size
from sightline_models.errors import ModelError

_PILLOW_FILTERS: Mapping[int, str] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_TIMM_FILTERS: Mapping[str, str] = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
    "random": "bilinear",
}
"""timm trains with a random filter and evaluates with the bilinear one."""
_OTHER_STEPS = ("crop_pct", "offset", "rescale_offset")
"""Keys of transformers' processors that change the geometry or the pixels in another way."""
_LEVELS = 255

Steps = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class InputSteps:
    """The known steps to a model's input; None is not stated, or is nothing that the server can do.

    size: of the input in pixels. preprocess: the geometry and the filter, as `config.pbtxt` has them.
    """

    size: Size | None = None
    normalization: Normalization | None = None
    preprocess: Steps | None = None


@dataclass(frozen=True, slots=True)
class SettledSteps:
    """`InputSteps` with nothing left open; `preprocess` is JSON."""

    size: Size
    normalization: Normalization
    preprocess: str


def settle(
    model: str, known: InputSteps, size: Size | None, normalization: Normalization | None, preprocess: str | None
) -> SettledSteps:
    """The steps of a model, of which the operator may state each.

    Args:
        model: its name, for messages.
        size, normalization, preprocess: the operator's own, which count; None takes what is known.

    Raises:
        ModelError: a step that neither states.
    """
    size, normalization = size or known.size, normalization or known.normalization
    if size is None:
        raise ModelError(f"{model}: does not state one size of its input; give it with --size, such as --size 224")
    if normalization is None:
        raise ModelError(f"{model}: does not state the mean and std of its pixels; give them with --mean and --std")
    if preprocess is None and known.preprocess is None:
        raise ModelError(
            f"{model}: does not state steps from an image to its input that the server knows; "
            "give them with --preprocess, as docs/guide/models.md describes them"
        )
    return SettledSteps(size, normalization, json.dumps(known.preprocess) if preprocess is None else preprocess)


def of_transformers(facts: Mapping[str, Any]) -> InputSteps:
    """The steps of a `preprocessor_config.json`, or of the `image_processor` in a `processor_config.json`."""
    if any(facts.get(key) for key in _OTHER_STEPS):
        return InputSteps()
    size, preprocess = _geometry(facts)
    filter_name = _PILLOW_FILTERS.get(facts.get("resample", -1))
    if preprocess is not None and filter_name is not None:
        colour = {"color": "BGR"} if facts.get("do_flip_channel_order") else {}
        return InputSteps(size, _normalization(facts), {**preprocess, "resample": filter_name, **colour})
    return InputSteps(size, _normalization(facts), None)


def of_timm(facts: Mapping[str, Any]) -> InputSteps:
    """The steps of timm's data configuration, which has `input_size`, `mean`, `std`, `crop_pct` and so on."""
    _, height, width = facts["input_size"]
    normalization = Normalization(_three(facts["mean"]), _three(facts["std"]))
    filter_name = _TIMM_FILTERS.get(facts["interpolation"])
    resize = _timm_resize(facts, height, width)
    preprocess = resize and filter_name and {**resize, "resample": filter_name}
    return InputSteps((height, width), normalization, preprocess or None)


def _timm_resize(facts: Mapping[str, Any], height: int, width: int) -> Steps | None:
    share, whole = float(facts["crop_pct"]), float(facts["crop_pct"]) == 1
    if facts["crop_mode"] == "squash":
        return {"resize": "squash"} if whole else None
    if facts["crop_mode"] == "border":
        fill = [round(_LEVELS * level) for level in facts["mean"]]
        return {"resize": "letterbox", "fill": fill} if whole and height == width else None
    return _shortest_edge(math.floor(height / share), (height, width)) if height == width else None


def _geometry(facts: Mapping[str, Any]) -> tuple[Size | None, Steps | None]:
    """The input's size, and the resize that gives it."""
    if not facts.get("do_resize", True) or facts.get("do_pad"):
        return None, None
    size = _edges(facts.get("size"))
    if facts.get("do_center_crop"):
        found = _crop(facts.get("crop_size"))
        if found is None:
            return None, None
        if set(size) == {"shortest_edge"}:
            return found, _shortest_edge(size["shortest_edge"], found)
        return found, {"resize": "squash"} if _two(size) == found else None
    found = _two(size)
    return found, {"resize": "squash"} if found is not None else None


def _shortest_edge(edge: int, size: Size) -> Steps:
    """The shorter edge scaled to `edge` pixels, then the centre."""
    if edge == max(size):
        return {"resize": "shortest-edge"}
    return {"resize": "shortest-edge + center-crop", "shortest_edge": edge}


def _crop(value: Any) -> Size | None:
    """The size of a crop; old files have one number, which is both edges."""
    return (value, value) if isinstance(value, int) else _two(_edges(value))


def _edges(value: Any) -> Mapping[str, int]:
    """A size as transformers writes it; old files have one number, which is the shorter edge."""
    if isinstance(value, Mapping):
        return {key: edge for key, edge in value.items() if edge is not None}
    return {"shortest_edge": value} if isinstance(value, int) else {}


def _two(edges: Mapping[str, int]) -> Size | None:
    """The height and width, where both are stated."""
    if set(edges) == {"height", "width"}:
        return edges["height"], edges["width"]
    return None


def _normalization(facts: Mapping[str, Any]) -> Normalization | None:
    """The numbers of the pixels, None where the file leaves them to the code of transformers."""
    scale = 1 / (facts.get("rescale_factor") or 1 / _LEVELS) if facts.get("do_rescale", True) else 1.0
    if facts.get("do_normalize") is False:
        return Normalization((0, 0, 0), (1, 1, 1), round(scale, 6))
    mean, std = facts.get("image_mean"), facts.get("image_std")
    if not isinstance(mean, Sequence) or not isinstance(std, Sequence) or len(mean) != 3 or len(std) != 3:
        return None
    return Normalization(_three(mean), _three(std), round(scale, 6))


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
