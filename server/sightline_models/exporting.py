"""`models export`: a model of transformers or timm as a model of the repository, or as a file.

Place in the flow: `ExportSource` -> `sightline_models.pytorch` -> what `models add` and `models adopt` do. The one
rule: names and options are checked before a model is loaded, which takes minutes and may take gigabytes.

Importing this module needs onnx and no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline_models.adding import is_json_object, require
from sightline_models.adoption import Normalization, Pool, Size
from sightline_models.export_source import ExportSource, Library, require_packages
from sightline_models.input_steps import InputSteps, SettledSteps, settle


@dataclass(frozen=True, slots=True)
class StatedSteps:
    """The operator's own steps, which count; None takes those of the model's files. `preprocess` is JSON."""

    size: Size | None = None
    normalization: Normalization | None = None
    preprocess: str | None = None

    def settle(self, source: ExportSource, known: InputSteps) -> SettledSteps:
        """See `input_steps.settle`."""
        return settle(source.text, known, self.size, self.normalization, self.preprocess)


@dataclass(frozen=True, slots=True)
class Export:
    """A file that keeps the contract, and what belongs to it.

    differences: the largest from PyTorch's answers, by output. labels: of a detector, one for each class.
    """

    content: bytes
    steps: SettledSteps
    differences: Mapping[str, float]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextExport:
    """A text encoder that keeps the contract, the content of its `tokenizer.json`, and differences as in `Export`."""

    content: bytes
    tokenizer: bytes
    differences: Mapping[str, float]


def export_embedder(
    source: ExportSource, pool: Pool, stated: StatedSteps, *, projection: bool, tolerance: float
) -> Export:
    """Exports an image tower.

    Args:
        projection: of timm: keep the last layer.
        tolerance: the largest difference from PyTorch of a number of an embedding.

    Raises:
        ModelError: a missing package, or as `from_transformers.load_tower`, `from_timm.load_tower`, `settle`, `export`.
    """
    _prepare(source, stated)
    require(
        not projection or source.library is Library.TIMM,
        "--projection is for models of timm; the tower of a CLIP model of transformers has it always",
    )
    from sightline_models.pytorch.loading import loading

    with loading(source):
        from sightline_models.pytorch.export import export, image_inputs
        from sightline_models.pytorch.modules import EmbedderModule

        if source.library is Library.TIMM:
            from sightline_models.pytorch import from_timm

            tower = from_timm.load_tower(source, pool, projection=projection)
        else:
            from sightline_models.pytorch import from_transformers

            tower = from_transformers.load_tower(source, pool)
    steps = stated.settle(source, tower.steps)
    module = EmbedderModule(tower, steps.normalization).eval()
    facts = _facts(source, steps) | {"pool": pool.value}
    done = export(source.text, module, "embedder", image_inputs(steps.size), tolerance, facts)
    return Export(done.content, steps, done.differences)


def export_detector(source: ExportSource, stated: StatedSteps, *, tolerance: float) -> Export:
    """Exports a detector.

    Args:
        tolerance: the largest difference from PyTorch of a score or of an edge of a box.

    Raises:
        ModelError: a missing package, a model of timm, or as `from_transformers.load_detector`, `settle`, `export`.
    """
    require(source.library is Library.TRANSFORMERS, f"{source.text}: timm has no detectors; use --role embedder")
    _prepare(source, stated)
    from sightline_models.pytorch.loading import loading

    with loading(source):
        from sightline_models.pytorch import from_transformers
        from sightline_models.pytorch.export import export, image_inputs
        from sightline_models.pytorch.modules import DetectorModule

        detector = from_transformers.load_detector(source)
    steps = stated.settle(source, detector.steps)
    module = DetectorModule(detector, steps.normalization).eval()
    done = export(source.text, module, "detector", image_inputs(steps.size), tolerance, _facts(source, steps))
    return Export(done.content, steps, done.differences, detector.labels)


def export_text_encoder(source: ExportSource, *, tolerance: float) -> TextExport:
    """Exports the text tower of a model of images and texts, with its tokenizer.

    Args:
        tolerance: the largest difference from PyTorch of a number of an embedding.

    Raises:
        ModelError: a missing package, a model of timm, or as `text_towers.load_text_tower`, `export`.
    """
    require(
        source.library is Library.TRANSFORMERS,
        f"{source.text}: timm has no text towers; leave --text out, or name the model of transformers",
    )
    _prepare(source, StatedSteps())
    from sightline_models.pytorch.loading import loading

    with loading(source):
        from sightline_models.pytorch.export import export, text_inputs
        from sightline_models.pytorch.modules import TextModule
        from sightline_models.pytorch.text_towers import load_text_tower

        tower = load_text_tower(source)
    facts = _origin(source) | {"length": str(tower.tokenizer.length)}
    inputs = text_inputs(tower.tokenizer)
    done = export(source.text, TextModule(tower).eval(), "text_encoder", inputs, tolerance, facts)
    return TextExport(done.content, tower.tokenizer.serialize(), done.differences)


def _prepare(source: ExportSource, stated: StatedSteps) -> None:
    """Raises `ModelError` for what can be known before anything is imported, and sets the libraries' switches."""
    text = stated.preprocess
    require(text is None or is_json_object(text), f"--preprocess {text!r} is not a JSON object")
    require_packages(source.library)
    from sightline_models.pytorch.loading import prepare

    prepare(source)


def _facts(source: ExportSource, steps: SettledSteps) -> dict[str, str]:
    """The `metadata_props` of the file: the model, and how it was wrapped."""
    facts = {"mean": steps.normalization.mean, "std": steps.normalization.std, "scale": steps.normalization.scale}
    return _origin(source) | {key: str(value) for key, value in facts.items()}


def _origin(source: ExportSource) -> dict[str, str]:
    """The model that was exported."""
    origin = Path(source.id).name if source.folder else source.text
    return {"exported_from": origin} | ({"exported_revision": source.revision} if source.revision else {})
