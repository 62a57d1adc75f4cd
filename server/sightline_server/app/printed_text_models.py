"""The models that read printed text, as an engine runs them: in batches for searches, one image at a time for builds.

Rule: a build goes on without the text of an image that cannot be read now; searches compare names then.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline_server.batching.batcher import BatchFunction
from sightline_server.domain.printed_text_models import TEXT_DETECTOR, TEXT_READER
from sightline_server.ports import Engine
from sightline_server.settings import Settings
from sightline_server.stages.printed_text.characters import ReadLine, read_lines
from sightline_server.stages.printed_text.reading import MakeTextReading, PrintedTextModels, TextReading, split_maps

Pixels = NDArray[np.uint8]


def finding_by(engine: Engine) -> BatchFunction[Pixels, Pixels]:
    """The function that finds text by `engine`: images uint8 [H,W,3] to maps uint8 [H,W]."""
    spec = engine.spec(TEXT_DETECTOR)

    async def find(items: Sequence[Pixels], *, deadline: float) -> list[Pixels]:
        answer = await engine.runner(TEXT_DETECTOR).infer({"IMAGES": items}, deadline=deadline)
        return split_maps(answer, len(items), spec)

    return find


def reading_by(engine: Engine) -> BatchFunction[Pixels, ReadLine]:
    """The function that reads text by `engine`: images of lines uint8 [h,w,3] to what they say."""
    spec = engine.spec(TEXT_READER)

    async def read(items: Sequence[Pixels], *, deadline: float) -> list[ReadLine]:
        answer = await engine.runner(TEXT_READER).infer({"LINES": items}, deadline=deadline)
        return read_lines(answer, len(items), spec)

    return read


def printed_text_models_of(settings: Settings, engine: Engine) -> PrintedTextModels | None:
    """The models for the images of a build, without batches of searches; None where no text is read."""
    if not settings.printed_text.enabled:
        return None
    detector, reader = engine.spec(TEXT_DETECTOR), engine.spec(TEXT_READER)
    runners = engine.runner(TEXT_DETECTOR), engine.runner(TEXT_READER)

    async def find(image: Pixels, deadline: float | None) -> Pixels:
        return split_maps(await runners[0].infer({"IMAGES": [image]}, deadline=deadline), 1, detector)[0]

    async def read(lines: Sequence[Pixels], deadline: float | None) -> Sequence[ReadLine]:
        most = reader.max_batch_size or len(lines)
        found: list[ReadLine] = []
        for start in range(0, len(lines), most):
            part = lines[start : start + most]
            found += read_lines(await runners[1].infer({"LINES": part}, deadline=deadline), len(part), reader)
        return found

    return PrintedTextModels(detector, reader, find, read)


def text_reading_of(settings: Settings, engine: Engine) -> MakeTextReading | None:
    """Reads the text of the images of a build; None where no text is read."""
    models, part = printed_text_models_of(settings, engine), settings.printed_text
    if models is None:
        return None
    return lambda threads: TextReading(models, threads, part.most_lines, part.min_confidence)
