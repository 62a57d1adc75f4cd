"""The pipeline with its batchers and its threads."""

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

from sightline_server.app.batchers import Batchers
from sightline_server.app.clock import clock
from sightline_server.app.limits import photo_limits
from sightline_server.app.photo_threads import photo_threads
from sightline_server.app.ranking_weights import by_identity, served_weights
from sightline_server.app.text_encoders import build_text_encoders
from sightline_server.domain.models import DETECTOR, DetectorSpec
from sightline_server.domain.preprocess import WHOLE_IMAGE
from sightline_server.domain.weights import Weights
from sightline_server.pipeline import Pipeline, PipelineSettings
from sightline_server.ports import Catalogs, Engine
from sightline_server.settings import DetectionSettings, Settings
from sightline_server.stages.detect import finds_people
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import Tracing

log = logging.getLogger(__name__)


async def build_pipeline(
    stack: AsyncExitStack,
    settings: Settings,
    engine: Engine,
    catalogs: Catalogs,
    batchers: Batchers,
    metrics: Metrics,
    tracing: Tracing,
    weights: Mapping[str, Weights] | None = None,
) -> Pipeline:
    """The pipeline of `engine`, `catalogs` and the `batchers` before them; what it starts ends with `stack`.

    `weights` are those of `served_weights` where they have been read already. Raises `SightlineError` of kind
    CONFIGURATION for weights of ranking that cannot be used.
    """
    warn_of_searched_people(engine.spec(DETECTOR), settings.detection)
    warn_of_visible_people(settings.detection)
    if weights is None:
        weights = served_weights(settings, engine.embedders)
    return Pipeline(
        engine=engine,
        catalogs=catalogs,
        frames=batchers.frames,
        crops_of=batchers.crops_of,
        text_encoders=build_text_encoders(stack, settings, engine, metrics),
        queries=batchers.queries,
        background=batchers.background,
        threads=photo_threads(stack, settings.decode, metrics),
        settings=PipelineSettings(
            photo_limits(settings),
            settings.detection,
            settings.ranking,
            settings.codes,
            settings.local_features,
            settings.local_features_of,
            settings.printed_text,
            by_identity(weights, engine.embedders),
        ),
        metrics=metrics,
        clock=clock,
        tracing=tracing,
        printed_text_models=batchers.printed_text,
    )


def warn_of_searched_people(detector: DetectorSpec, settings: DetectionSettings) -> None:
    """Logs a warning when the detector cannot find people, or not everywhere in a photo."""
    if not finds_people(detector, settings):
        log.warning("people in photos are searched: the detector has none of the labels in detection.person_labels")
    elif detector.preprocess.fit not in WHOLE_IMAGE:
        log.warning("people at the edges of photos are searched: the detector's preprocess cuts the edges off")


def warn_of_visible_people(settings: DetectionSettings) -> None:
    """Logs a warning when people are not greyed out."""
    if not settings.redact_people:
        log.warning("people in photos are not greyed out: detection.redact_people is off")
