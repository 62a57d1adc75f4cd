"""Image towers of timm.

Place in the flow: `ExportSource` -> `LoadedTower`. The one rule: the classifier goes, because its classes are not those
of a shop; the projection of a tower of CLIP, which timm keeps in the same layer, stays only where it is asked for.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
import torch

from sightline_models.adoption import Pool
from sightline_models.errors import ModelError
from sightline_models.export_source import ExportSource
from sightline_models.input_steps import of_timm
from sightline_models.pytorch.loading import loading
from sightline_models.pytorch.modules import LoadedTower

_CHANNELS = 3


def load_tower(source: ExportSource, pool: Pool, *, projection: bool) -> LoadedTower:
    """Loads a model with its pretrained weights.

    Args:
        projection: keep the last layer, which is a classifier in most models and the projection in towers of CLIP.

    Raises:
        ModelError: no such model, or a `pool` or `projection` that does not fit it.
    """
    if projection and pool is not Pool.NONE:
        raise ModelError("--projection belongs to the vector of --pool none; leave one of them out")
    with loading(source):
        name = f"local-dir:{source.id}" if source.folder else source.id
        options = {} if projection else {"num_classes": 0}
        network = timm.create_model(name, pretrained=True, exportable=True, **options).eval()
        facts = timm.data.resolve_model_data_config(network)
        # Folds the branches that some models, such as FastViT, have for training only.
        network = timm.utils.reparameterize_model(network)
    if projection and not network.num_classes:
        raise ModelError(f"{source.text}: has no last layer; leave --projection out")
    if facts["input_size"][0] != _CHANNELS:
        raise ModelError(f"{source.text}: its images have {facts['input_size'][0]} channels and not three")
    forward = network if pool is Pool.NONE else partial(_pooled, source, network, pool)
    return LoadedTower(network, forward, of_timm(facts))


def _pooled(source: ExportSource, network: Any, pool: Pool, pixels: torch.Tensor) -> torch.Tensor:
    """One vector [B, D] for each image, from the features before the model's own pooling."""
    features = network.forward_features(pixels)
    if features.ndim == 3:
        return features[:, 0] if pool is Pool.CLS else features.mean(dim=1)
    if pool is Pool.CLS or getattr(network, "output_fmt", "NCHW") != "NCHW":
        raise ModelError(f"{source.text}: has a map and no tokens; leave --pool out, timm pools it as it was trained")
    return features.mean(dim=(2, 3))
