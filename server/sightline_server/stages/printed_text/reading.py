"""The text that is printed on a part of an image, read by the two models.

    part of a frame -> input of the detector -> map -> lines -> inputs of the reader -> text
Rule: the models are given as functions, so that searches share batches and a build calls the engine. What was read is
in the frames of the caller alone.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.printed_text_models import TextDetectorSpec, TextReaderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.model_input import model_input
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.characters import ReadLine, confident_text
from sightline_server.stages.printed_text.finding import lines_in
from sightline_server.stages.printed_text.lines import line_images, on_part

Pixels = NDArray[np.uint8]
MOST_CHARACTERS = 1000
"""Characters of a text that is read."""


@dataclass(frozen=True, slots=True)
class PrintedTextModels:
    """The two models and what runs them: `find` gives the map of an image, `read` the lines of their images.

    Both take an instant of the monotonic clock as deadline, None for none, and raise `SightlineError`.
    """

    detector: TextDetectorSpec
    reader: TextReaderSpec
    find: Callable[[Pixels, float | None], Awaitable[Pixels]]
    read: Callable[[Sequence[Pixels], float | None], Awaitable[Sequence[ReadLine]]]


@dataclass(frozen=True, slots=True)
class TextReading:
    """Reads text with `models` and `threads`: of an image at most `most_lines`, which the reader must be sure of."""

    models: PrintedTextModels
    threads: PhotoThreads
    most_lines: int
    min_confidence: float

    async def of(self, part: Frame, deadline: float | None = None) -> str:
        """The text on `part`, which `lines.readable_part` made; empty without any. Raises `SightlineError`."""
        models = self.models

        def detector_input() -> ModelInput:
            spec = models.detector
            return model_input(part, part.pixels, spec.width, spec.height, spec.preprocess)

        seen = await self.threads.run(detector_input)
        found = await models.find(seen.pixels, deadline)

        def lines() -> list[Pixels]:
            quads = lines_in(found, self.most_lines)
            return line_images(part, on_part(quads, seen.placement, part), models.reader)

        images = await self.threads.run(lines)
        if not images:
            return ""
        read = list(await models.read(images, deadline))
        return confident_text(read, self.min_confidence, MOST_CHARACTERS)


def split_maps(answer: Mapping[str, NDArray[Any]], batch: int, spec: TextDetectorSpec) -> list[Pixels]:
    """The maps uint8 [H,W] of the detector's answer. Raises `SightlineError` of kind MODEL_ANSWER for another shape."""
    maps = answer["TEXT"]
    if maps.shape != (batch, spec.height, spec.width):
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the text detector's answer has the wrong shape")
    return list(maps)


MakeTextReading = Callable[[PhotoThreads], TextReading]
"""Makes what reads text with the threads of a build."""
