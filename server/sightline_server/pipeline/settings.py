"""The parts of the settings that the pipeline uses; `app/pipeline.py` takes them from the whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from sightline_server.domain.weights import Weights
from sightline_server.settings import (
    CodeSettings,
    DetectionSettings,
    LocalFeatureSettings,
    PrintedTextSettings,
    RankingSettings,
)
from sightline_server.stages.decode import DecodeLimits


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The parts of the settings that the pipeline uses."""

    decode: DecodeLimits
    detection: DetectionSettings
    ranking: RankingSettings
    codes: CodeSettings
    local_features: LocalFeatureSettings
    local_features_of: Mapping[str, bool]
    """The catalogs for which `local_features.enabled` does not count, with what counts instead."""
    printed_text: PrintedTextSettings
    weights: Mapping[str, Weights]
    """The weights for the catalogs of each embedder, by its identity."""
