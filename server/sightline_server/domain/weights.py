"""The weights of the sum that orders the products compared more closely: file or bytes -> checked values, and back.

    score = similarity + local_features * share of the points in common + colours * (likeness - average) + ...
Rule: a file is read whole or refused with one message. A name that this version does not know is refused as well: a
misspelt weight would be a silent default, and a weight of a later version would be left out silently. All weights are
in units of similarity, whose own weight they are divided by.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

VERSION = 1
"""Raised when a reader of the previous number could no longer use what is written."""
MOST_BYTES = 16 * 1024
MOST = {"local_features": 0.5, "colours": 0.3, "printed_text": 0.5}
"""Largest weights, in units of similarity: even together they stay below the contribution of a code."""
SIMILARITY = (0.01, 100.0)
POINTS = (8, 384)
"""Points below which a transform is chance, and the points that an image has at most."""
NAMES = ("version", "similarity", "local_features", "colours", "printed_text")
POINT_NAMES = ("weight", "least_inliers", "full_inliers", "scale")


class Scale(StrEnum):
    """The share of the weight that n points in common bring, 0..1."""

    LINEAR = "linear"
    """n / full."""
    LOG = "log"
    """log(1 + n) / log(1 + full): the first points say more than the later ones."""


class WeightsError(ValueError):
    """The reason why weights cannot be used, for a message that names the file."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the reasons that a closer comparison gives, in units of similarity.

    `local_features` is added for `full_inliers` points in common and more, and less by `scale` from `least_inliers` on.
    `colours` and `printed_text` are times a likeness 0..1. A weight of 0 compares nothing.
    """

    local_features: float = 0.0
    colours: float = 0.0
    printed_text: float = 0.0
    least_inliers: int = POINTS[0]
    full_inliers: int = 60
    scale: Scale = Scale.LINEAR

    def of_points(self, count: int) -> float:
        """The contribution of `count` points in common."""
        return self.local_features * self.point_share(count)

    def point_share(self, count: int) -> float:
        """The share 0..1 of the weight of local features that `count` points in common bring."""
        if count < self.least_inliers:
            return 0.0
        counted = min(count, self.full_inliers)
        if self.scale is Scale.LINEAR:
            return counted / self.full_inliers
        return math.log1p(counted) / math.log1p(self.full_inliers)

    def facts(self) -> dict[str, Any]:
        """The weights as a file has them."""
        points = (self.local_features, self.least_inliers, self.full_inliers, self.scale.value)
        return {
            "version": VERSION,
            "similarity": 1.0,
            "local_features": dict(zip(POINT_NAMES, points, strict=True)),
            "colours": self.colours,
            "printed_text": self.printed_text,
        }

    @property
    def identity(self) -> str:
        """Twelve digits that tell weights apart."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:12]


NO_WEIGHTS = Weights()
"""The order is that of similarities."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedWeights:
    """Weights that were fitted from labelled photos; `facts` say from what and what they bring, plain JSON."""

    weights: Weights
    facts: Mapping[str, Any] = field(default_factory=dict)


def parse_weights(content: bytes) -> Weights:
    """The weights in the JSON of a file. Raises `WeightsError`."""
    if len(content) > MOST_BYTES:
        raise WeightsError(f"it has more than {MOST_BYTES >> 10} KiB")
    try:
        facts = json.loads(content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refused)
    except WeightsError:
        raise
    except (ValueError, RecursionError) as error:
        raise WeightsError("it is not JSON") from error
    return weights_of(facts)


def weights_of(facts: Any) -> Weights:
    """The weights in the parsed JSON of a file. Raises `WeightsError`."""
    if not isinstance(facts, dict):
        raise WeightsError("it is not a JSON object")
    # The version first: of another one nothing else can be said.
    if facts.get("version") != VERSION or isinstance(facts["version"], bool):
        stated = f"version {readable(str(facts['version']))[:20]}" if "version" in facts else "no version"
        raise WeightsError(f"it has {stated}, and this version of Sightline reads {VERSION}")
    require_names(facts, NAMES, "")
    points = facts["local_features"]
    if not isinstance(points, dict):
        raise WeightsError("local_features is not a JSON object")
    require_names(points, POINT_NAMES, "local_features.")
    similarity = number(facts["similarity"], "similarity", *SIMILARITY)
    least = whole_number(points["least_inliers"], "local_features.least_inliers", *POINTS)
    return Weights(
        local_features=weight(points["weight"], "local_features", similarity, ".weight"),
        colours=weight(facts["colours"], "colours", similarity),
        printed_text=weight(facts["printed_text"], "printed_text", similarity),
        least_inliers=least,
        full_inliers=whole_number(points["full_inliers"], "local_features.full_inliers", least, POINTS[1]),
        scale=scale_of(points["scale"]),
    )


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ. Raises `WeightsError`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WeightsError("it has a name twice")
    return found


def refused(constant: str) -> Any:
    """Raises `WeightsError` for NaN and the infinities, which are not JSON."""
    raise WeightsError(f"it has the value {constant}, which is not a number")


def require_names(facts: Mapping[str, Any], names: tuple[str, ...], group: str) -> None:
    """Raises `WeightsError` unless `facts` has exactly `names`."""
    if missing := [name for name in names if name not in facts]:
        raise WeightsError(f"{group}{missing[0]} is missing")
    if unknown := [name for name in facts if name not in names]:
        raise WeightsError(f"{group}{readable(unknown[0])} is not known; known are {', '.join(names)}")


def weight(value: Any, name: str, similarity: float, group: str = "") -> float:
    """A weight in units of similarity. Raises `WeightsError`."""
    return number(value, f"{name}{group}", 0.0, MOST[name] * similarity) / similarity


def number(value: Any, name: str, least: float, most: float) -> float:
    """A number from `least` to `most`. Raises `WeightsError`."""
    # Compared before it becomes a float: an integer may be too large for one.
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise WeightsError(f"{name} is {shown(value)}, expected a number from {least:g} to {most:g}")
    return float(value)


def whole_number(value: Any, name: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`. Raises `WeightsError`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise WeightsError(f"{name} is {shown(value)}, expected a whole number from {least} to {most}")
    return value


def scale_of(value: Any) -> Scale:
    """The scale of that name. Raises `WeightsError`."""
    if value not in list(Scale):
        raise WeightsError(f"local_features.scale is {shown(value)}, expected one of {', '.join(Scale)}")
    return Scale(value)


def readable(text: str) -> str:
    """The text for a message, short, with an escape for each character that a terminal or a log cannot show."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text[:40])


def shown(value: Any) -> str:
    """The value for a message, short."""
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 10**9 else "a very large number"
    return text if len(text) <= 40 else f"{text[:37]}..."
