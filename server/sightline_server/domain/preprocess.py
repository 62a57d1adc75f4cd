"""The steps that make a model's input from an image, as the model's configuration states them.

Rule: every value that is accepted here is executed by `stages/model_input.py`; anything else is refused when the
configuration is read, because a model that gets other images than it was trained on is silently wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from sightline_server.domain.geometry import Placement
from sightline_server.errors import ErrorKind, SightlineError

GREY = (128, 128, 128)
"""The padding of darknet."""


class Fit(StrEnum):
    """The geometry between an image and the model's input."""

    LETTERBOX = "letterbox"
    """The whole image in its own proportions; the rest of the input has the fill colour."""
    SQUASH = "squash"
    """The whole image, stretched to the input's proportions."""
    CENTER_CROP = "center-crop"
    """The largest centred part of the image that has the input's proportions."""
    SHORTEST_EDGE = "shortest-edge"
    """The shorter edge scaled to the input's larger edge, then the centre."""
    SHORTEST_EDGE_CENTER_CROP = "shortest-edge + center-crop"
    """The shorter edge scaled to a stated number of pixels, then the centre."""


WHOLE_IMAGE = frozenset({Fit.LETTERBOX, Fit.SQUASH})
"""The fits that show the model all of an image."""


class Resampler(StrEnum):
    """The filter that changes an image's size."""

    AREA = "area"
    """Exact area averages when reducing, bilinear when enlarging (OpenCV)."""
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    """These four are Pillow's filters of the same names; all but `nearest` are antialiased."""
    HALVED_BICUBIC = "bicubic antialiased"
    """Pillow's bicubic after halving large images by area averages, which is several times faster."""


class Colour(StrEnum):
    """The order of the three channels."""

    RGB = "RGB"
    BGR = "BGR"


class Align(StrEnum):
    """The position of a letterboxed image in the input."""

    CENTER = "center"
    TOP_LEFT = "top-left"


PILLOW_NAMES = {f"pillow-{filter}": filter for filter in ("nearest", "bilinear", "bicubic", "lanczos")}
"""Second names of the resamplers that are Pillow's."""

KEYS: Mapping[str, frozenset[Fit]] = {
    "resize": frozenset(Fit),
    "resample": frozenset(Fit),
    "color": frozenset(Fit),
    "fill": frozenset({Fit.LETTERBOX}),
    "align": frozenset({Fit.LETTERBOX}),
    "shortest_edge": frozenset({Fit.SHORTEST_EDGE_CENTER_CROP}),
    "crop_ratio": frozenset({Fit.SHORTEST_EDGE_CENTER_CROP}),
}
"""The keys of a configuration, and the fits that read each of them."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The way from an image to a model's input.

    `fill` is RGB, whatever `colour` is. `shortest_edge` is in pixels, and 0 for every fit but
    `shortest-edge + center-crop`.
    """

    fit: Fit
    resampler: Resampler
    colour: Colour = Colour.RGB
    fill: tuple[int, int, int] = GREY
    align: Align = Align.CENTER
    shortest_edge: int = 0

    def place(self, width: int, height: int, input_width: int, input_height: int) -> Placement:
        """The position of a `width` x `height` image in the model's input."""
        if self.fit is Fit.LETTERBOX:
            return Placement.inside(width, height, input_width, input_height, centred=self.align is Align.CENTER)
        if self.fit is Fit.SQUASH:
            return Placement(input_width, input_height, input_width, input_height, 0, 0)
        if self.fit is Fit.CENTER_CROP:
            return Placement.covering(width, height, input_width, input_height)
        edge = self.shortest_edge or max(input_width, input_height)
        return Placement.of_shortest_edge(width, height, edge, input_width, input_height)

    def facts(self) -> dict[str, object]:
        """The value as a configuration states it; equal values give equal facts."""
        facts: dict[str, object] = {
            "color": self.colour.value,
            "resize": self.fit.value,
            "resample": self.resampler.value,
        }
        if self.fit is Fit.LETTERBOX:
            facts["fill"] = list(self.fill)
        if self.align is not Align.CENTER:
            facts["align"] = self.align.value
        if self.shortest_edge:
            facts["shortest_edge"] = self.shortest_edge
        return facts


DETECTOR_PREPROCESS = Preprocess(Fit.LETTERBOX, Resampler.AREA)
"""The default of what a detector's configuration leaves out."""

EMBEDDER_PREPROCESS = Preprocess(Fit.SQUASH, Resampler.HALVED_BICUBIC)
"""The default of what an embedder's configuration leaves out."""


def parse_preprocess(
    model: str, facts: Mapping[str, object], width: int, height: int, default: Preprocess
) -> Preprocess:
    """The `preprocess` of the configuration of `model`, whose input has `width` x `height` pixels.

    `default` gives `resize` and `resample` where the configuration does not state them. Raises `SightlineError` of kind
    CONFIGURATION that names the model, the key, its value and the possible values.
    """
    reader = _Reader(model, facts)
    fit = reader.word("resize", Fit, default.fit)
    reader.check_keys(fit)
    return Preprocess(
        fit,
        reader.word("resample", Resampler, default.resampler, PILLOW_NAMES),
        reader.word("color", Colour, default.colour),
        reader.fill(),
        reader.word("align", Align, Align.CENTER),
        reader.shortest_edge(max(width, height)) if fit is Fit.SHORTEST_EDGE_CENTER_CROP else 0,
    )


WordT = TypeVar("WordT", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class _Reader:
    """The facts of one model, read key by key."""

    model: str
    facts: Mapping[str, object]

    def error(self, key: str, expected: str) -> SightlineError:
        """The refusal of the value of `key`."""
        value = self.facts.get(key)
        return self.refusal(f"`{key}` is {value!r}; {expected}")

    def refusal(self, text: str) -> SightlineError:
        """The refusal of the facts as a whole."""
        return SightlineError(ErrorKind.CONFIGURATION, f"model {self.model}: `preprocess` in config.pbtxt: {text}")

    def check_keys(self, fit: Fit) -> None:
        """Raises for a key that is not known, or that `fit` does not read."""
        for key in self.facts:
            if key not in KEYS:
                raise self.refusal(f"there is no key `{key}`; possible are {listed(KEYS)}")
            if fit not in KEYS[key]:
                raise self.error(key, f"it needs `resize` to be {listed(sorted(KEYS[key]))}, which is {fit.value!r}")

    def word(self, key: str, words: type[WordT], default: WordT, aliases: Mapping[str, str] | None = None) -> WordT:
        """The value of `key` as a member of `words`."""
        given = self.facts.get(key, default)
        for word in words:
            if isinstance(given, str) and word == (aliases or {}).get(given, given):
                return word
        raise self.error(key, f"possible are {listed([*words, *(aliases or ())])}")

    def fill(self) -> tuple[int, int, int]:
        """The fill colour: one level for all channels, or three."""
        given = self.facts.get("fill", list(GREY))
        levels = [given] * 3 if is_whole(given) else given
        if isinstance(levels, list) and len(levels) == 3 and all(is_whole(v) and 0 <= v <= 255 for v in levels):
            red, green, blue = levels
            return red, green, blue
        raise self.error("fill", "expected one whole number of 0..255, or a list of three of them: red, green, blue")

    def shortest_edge(self, input_edge: int) -> int:
        """The pixels of the shorter edge after resizing, from `shortest_edge` or `crop_ratio`."""
        edge, ratio = self.facts.get("shortest_edge"), self.facts.get("crop_ratio")
        if (edge is None) == (ratio is None):
            name = Fit.SHORTEST_EDGE_CENTER_CROP.value
            raise self.refusal(f"{name!r} needs exactly one of `shortest_edge` (pixels) and `crop_ratio`")
        if edge is not None:
            if is_whole(edge) and isinstance(edge, int) and input_edge <= edge <= MAX_EDGE * input_edge:
                return edge
            raise self.error(
                "shortest_edge", f"expected a whole number of pixels of {input_edge}..{MAX_EDGE * input_edge}"
            )
        if isinstance(ratio, int | float) and not isinstance(ratio, bool) and 1 / MAX_EDGE <= ratio <= 1:
            return int(input_edge / ratio)
        raise self.error("crop_ratio", f"expected a number of {1 / MAX_EDGE}..1: input edge / shorter edge")


MAX_EDGE = 4
"""The largest shorter edge, in multiples of the input's edge: the centre is at least a sixteenth of the image."""


def is_whole(value: object) -> bool:
    """Returns whether `value` is a whole number; JSON's `true` is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def listed(words: Iterable[str]) -> str:
    """The words in quotes, separated by commas."""
    return ", ".join(repr(str(word)) for word in words)
