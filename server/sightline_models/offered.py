"""The models that can replace a default one or be added to them, and sets of models that go together.

Place in the flow: `models use`, `models list` and the store read it. The one rule: a name that `models use` accepts is
here, and its file is pinned by a digest as those of the defaults are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sightline_models import sources
from sightline_models.coco import COCO_LABELS, COCO_VOCABULARY
from sightline_models.defaults import DEFAULT_MODELS, EMBEDDER, DefaultModel, Figures
from sightline_models.errors import ModelError


def _compile_picodet(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    from sightline_models.picodet import compile_picodet

    return compile_picodet(members["program"], members["parameters"], metadata)


def _compile_pair(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    from sightline_models.pair_embedder import compile_pair

    return compile_pair(members["checkpoint"], members["program"], members["parameters"], metadata)


def _compile_text_detector(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    from sightline_models.printed_text import compile_text_detector

    return compile_text_detector(members["weights"], metadata)


def _compile_text_reader(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    from sightline_models.printed_text import compile_text_reader

    return compile_text_reader(members["weights"], metadata)


PICODET = DefaultModel(
    folder="detector",
    name="picodet-coco-416",
    version="1",
    source=sources.PICODET,
    sha256="7f8640a9b97151babac4b76b415e2ec6a42189ea8a166235de025c7a07a0d715",
    labels=COCO_LABELS,
    preprocess={"color": "RGB", "resize": "squash", "resample": "area"},
    compile_onnx=_compile_picodet,
    figures=Figures(megabytes=4.8, cpu_ms=31, quality="showroom: recall 0.837"),
    vocabulary=COCO_VOCABULARY,
    advice="set detection.min_score to 0.3; a photo of a product in a hand is more often refused as one of people",
)

PAIR = DefaultModel(
    folder="embedder",
    name="pair-lite2-lcnetv2-260",
    version="1",
    source=sources.EFFICIENTNET_LITE2,
    second_source=sources.PP_LCNETV2,
    sha256="33f1b423f5c1448f2d6d280b3acb2b2747fb0e0733ba3ee4ec5cd6fbda6dbdfd",
    labels=(),
    preprocess=EMBEDDER.preprocess,
    compile_onnx=_compile_pair,
    figures=Figures(megabytes=35.3, cpu_ms=45, quality="groceries: hit@1 0.416, hit@5 0.793"),
)

TEXT_DETECTOR = DefaultModel(
    folder="text_detector",
    name="pp-ocrv4-text-detector-640",
    version="1",
    source=sources.PP_OCRV4_DETECTION,
    sha256="1aeb241151b730326a45f21ec60f9abd102dece242ba32ebc3bdf79f7570c1c9",
    labels=(),
    preprocess={
        "color": "RGB",
        "resize": "letterbox",
        "fill": [128, 128, 128],
        "align": "top-left",
        "resample": "area",
    },
    compile_onnx=_compile_text_detector,
    figures=Figures(megabytes=4.8, cpu_ms=133, quality="finds lines of printed text"),
)

TEXT_READER = DefaultModel(
    folder="text_reader",
    name="pp-ocrv4-text-reader-320",
    version="1",
    source=sources.PP_OCRV4_RECOGNITION,
    sha256="ed6369b14849597e6ac9b8853727a6d2389593cd5992f82188abbce9d0fe5a0c",
    labels=(),
    preprocess={"color": "RGB"},
    compile_onnx=_compile_text_reader,
    figures=Figures(megabytes=10.9, cpu_ms=40, quality="reads Chinese, Latin letters and digits"),
)

PRINTED_TEXT_MODELS: tuple[DefaultModel, ...] = (TEXT_DETECTOR, TEXT_READER)
"""The models that read printed text. They replace none: a server without them searches as before."""

OFFERED_MODELS: tuple[DefaultModel, ...] = (*DEFAULT_MODELS, PICODET, PAIR, *PRINTED_TEXT_MODELS)
"""The models that `models use` knows, the defaults first."""

QUALITY = replace(
    PAIR,
    search={"whole_photo_share": 0.8, "local_features": True},
    advice="whole photos are embedded by their middle 80 %, and catalogs that are built from now on keep local "
    "features",
)
"""The pair embedder with the steps that go with it: the recipe that finds the most."""

SETS: Mapping[str, tuple[DefaultModel, ...]] = {
    "default": DEFAULT_MODELS,
    "small": (PICODET, EMBEDDER),
    "large": (PICODET, PAIR),
    "quality": (QUALITY,),
    "printed-text": PRINTED_TEXT_MODELS,
}
"""Sets of models by name: a detector with an embedder, and those that read printed text. `quality` leaves the detector
as it is, so that it can also be a further embedder."""


def by_name(folder: str, name: str) -> DefaultModel | None:
    """The model of that name for a folder of the repository; None where there is none."""
    return next((model for model in OFFERED_MODELS if (model.folder, model.name) == (folder, name)), None)


def chosen(names: Iterable[str]) -> list[DefaultModel]:
    """The models of these names, each the name of a model or of a set.

    Raises:
        ModelError: a name that is not known, or two models for one folder.
    """
    found: dict[str, DefaultModel] = {}
    for model in (model for name in names for model in _named(name)):
        other = found.setdefault(model.folder, model)
        if other != model:
            raise ModelError(f"{other.name} and {model.name} are both for {model.folder}; name one of them")
    return list(found.values())


def _named(name: str) -> tuple[DefaultModel, ...]:
    known = {**{model.name: (model,) for model in OFFERED_MODELS}, **SETS}
    if name not in known:
        raise ModelError(f"there is no model {name!r}; possible are {', '.join(known)}")
    return known[name]


def printed_text_model(folder: str) -> DefaultModel | None:
    """The model that reads printed text from a folder of the repository; None for another folder."""
    return next((model for model in PRINTED_TEXT_MODELS if model.folder == folder), None)
