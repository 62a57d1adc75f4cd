"""The pipeline with its batchers, its threads and its decode processes."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from sightline_server.app.batchers import Batchers
from sightline_server.app.clock import clock
from sightline_server.app.limits import photo_limits, process_limits
from sightline_server.domain.models import DETECTOR, DetectorSpec
from sightline_server.domain.preprocess import WHOLE_IMAGE
from sightline_server.pipeline import Pipeline, PipelineSettings
from sightline_server.ports import Catalogs, Engine
from sightline_server.settings import DecodeSettings, DetectionSettings, Settings
from sightline_server.stages.detect import finds_people
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.processes.pool import ENDS, DecodeProcesses
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
) -> Pipeline:
    """The pipeline of `engine`, `catalogs` and the `batchers` before them; what it starts ends with `stack`."""
    warn_of_searched_people(engine.spec(DETECTOR), settings.detection)
    warn_of_visible_people(settings.detection)
    return Pipeline(
        engine=engine,
        catalogs=catalogs,
        frames=batchers.frames,
        crops_of=batchers.crops_of,
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
        ),
        metrics=metrics,
        clock=clock,
        tracing=tracing,
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


def photo_threads(stack: AsyncExitStack, settings: DecodeSettings, metrics: Metrics) -> PhotoThreads:
    """The threads that decode and crop, and the decode processes; all end with `stack`."""
    processes = decode_processes(stack, settings, metrics)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="photos")
    stack.callback(executor.shutdown, wait=True, cancel_futures=True)
    return PhotoThreads(executor, processes)


def decode_processes(stack: AsyncExitStack, settings: DecodeSettings, metrics: Metrics) -> DecodeProcesses:
    """The decode processes of the settings, none of which is started yet; they end with `stack`."""
    # A counter that appears with its first end hides that end from rate().
    counters = {reason: metrics.decode_process_ends.labels(reason) for reason in ENDS}
    processes = DecodeProcesses(process_limits(settings), on_end=lambda reason: counters[reason].inc())
    stack.push_async_callback(processes.close)
    return processes
