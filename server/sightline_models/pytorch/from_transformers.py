"""Image towers and detectors of transformers.

Place in the flow: `ExportSource` -> `LoadedTower` or `LoadedDetector`. The one rule: a model with weights that the
files do not have is refused; transformers would give them random numbers and go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from sightline_models.adoption import Pool
from sightline_models.errors import ModelError
from sightline_models.export_source import ExportSource
from sightline_models.input_steps import InputSteps, of_transformers
from sightline_models.pytorch.loading import loading
from sightline_models.pytorch.modules import LoadedDetector, LoadedTower

_PROJECTING = "CLIPVisionModelWithProjection"
_IMAGE_TOWERS: Mapping[str, str] = {
    "clip": _PROJECTING,
    "clip_vision_model": _PROJECTING,
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
"""The class of the image tower of a model that has texts too, by type. Fixed-size SigLIP2 has the type `siglip`."""
_NAFLEX = ("siglip2", "siglip2_vision_model")
_DETECTORS = ("rt_detr", "rt_detr_v2", "d_fine")
"""Types of which each row of `logits` is a sigmoid for each class, and each row of `pred_boxes` centre and size."""
_POOLER = "pooler."
_MANY = 3


def load_tower(source: ExportSource, pool: Pool) -> LoadedTower:
    """Loads the image tower of a model.

    Raises:
        ModelError: a model that is not one of images, weights that are missing, or a `pool` that does not fit it.
    """
    config = config_of(source)
    if config.model_type in _NAFLEX:
        raise ModelError(
            f"{source.text}: is a NaFlex model, which takes patches and their mask and not an image; "
            "choose one of a fixed size, such as google/siglip2-base-patch16-224"
        )
    network, missing = load_network(source, _tower_class(source, config))
    # The vector of many models comes from a layer that their files leave out.
    unused = _POOLER if pool is not Pool.NONE else None
    require_weights(source, [name for name in missing if unused is None or not name.startswith(unused)])
    if getattr(network, "main_input_name", "") != "pixel_values":
        raise ModelError(f"{source.text}: is a {config.model_type} model, whose input is not an image")
    return LoadedTower(network, partial(_vector, source, network, pool), _steps(source))


def load_detector(source: ExportSource) -> LoadedDetector:
    """Loads a detector. Raises `ModelError` for one of another family, and for weights that are missing."""
    config = config_of(source)
    if config.model_type not in _DETECTORS:
        raise ModelError(
            f"{source.text}: is a {config.model_type} model; exported are detectors of the types "
            f"{', '.join(_DETECTORS)}; export another one to ONNX and use `sightline models adopt`"
        )
    network, missing = load_network(source, transformers.AutoModelForObjectDetection)
    require_weights(source, missing)
    labels = tuple(str(config.id2label[index]) for index in range(len(config.id2label)))
    return LoadedDetector(network, partial(_heads, network), _steps(source), labels)


def config_of(source: ExportSource) -> Any:
    """The configuration of a model. Raises `ModelError`."""
    # Its report of missing weights becomes an error here; downloads have their own progress bar.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with loading(source):
        # False, so that no code of the hub's repository is run, and no question asked.
        return transformers.AutoConfig.from_pretrained(source.id, trust_remote_code=False, **revision_of(source))


def _tower_class(source: ExportSource, config: Any) -> Any:
    name = _IMAGE_TOWERS.get(config.model_type)
    if name is not None:
        with loading(source):
            return getattr(transformers, name)
    if getattr(config, "text_config", None) is not None:
        raise ModelError(
            f"{source.text}: is a {config.model_type} model, which has texts too, and its image tower is not known "
            "here; export the image tower to ONNX and use `sightline models adopt`"
        )
    return transformers.AutoModel


def load_network(source: ExportSource, family: Any) -> tuple[Any, list[str]]:
    """The network in float32, and the names of weights that no file has.

    The attention is written out, because the fused one is exported in a form that depends on PyTorch's version.
    """
    with loading(source):
        network, report = family.from_pretrained(
            source.id,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
            **revision_of(source),
        )
    return network.eval(), sorted(report["missing_keys"])


def require_weights(source: ExportSource, missing: list[str]) -> None:
    """Raises `ModelError` where the files lack weights."""
    if not missing:
        return
    rest = f" and {len(missing) - _MANY} more" if len(missing) > _MANY else ""
    advice = (
        "use --pool cls or --pool mean" if all(map(_is_pooler, missing)) else "choose a model that has been trained"
    )
    raise ModelError(
        f"{source.text}: the files have no weights for {', '.join(missing[:_MANY])}{rest}, so the answers would be "
        f"random; {advice}"
    )


def _is_pooler(name: str) -> bool:
    return name.startswith(_POOLER)


def _steps(source: ExportSource) -> InputSteps:
    """The steps of the model's processor; nothing where it has no such file."""
    for name, part in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        with loading(source):
            path = _file(source, name)
            facts = json.loads(path.read_text(encoding="utf-8")) if path is not None else None
        if isinstance(facts, dict) and part is not None:
            facts = facts.get(part)
        if isinstance(facts, dict):
            return of_transformers(facts)
    return InputSteps()


def _file(source: ExportSource, name: str) -> Path | None:
    """A file of the model; None where it has none of that name."""
    if source.folder:
        path = Path(source.id) / name
        return path if path.is_file() else None
    found = transformers.utils.cached_file(
        source.id, name, _raise_exceptions_for_missing_entries=False, **revision_of(source)
    )
    return None if found is None else Path(found)


def revision_of(source: ExportSource) -> dict[str, str]:
    """The option that names the revision of the hub."""
    return {"revision": source.revision} if source.revision else {}


def _vector(source: ExportSource, network: Any, pool: Pool, pixels: torch.Tensor) -> torch.Tensor:
    """One vector [B, D] for each image."""
    found = network(pixel_values=pixels)
    if pool is Pool.NONE:
        vector = found.get("image_embeds")
        vector = found.get("pooler_output") if vector is None else vector
        if vector is None:
            raise ModelError(f"{source.text}: has no vector for an image; use --pool cls or --pool mean")
        return vector.flatten(1)
    tokens = found.last_hidden_state
    if tokens.ndim == 4 and pool is Pool.MEAN:
        return tokens.mean(dim=(2, 3))
    if tokens.ndim != 3:
        raise ModelError(f"{source.text}: has a map and no tokens; use --pool mean, or leave --pool out")
    return tokens[:, 0] if pool is Pool.CLS else tokens.mean(dim=1)


def _heads(network: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found = network(pixel_values=pixels)
    return found.logits, found.pred_boxes
