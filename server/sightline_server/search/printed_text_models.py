"""The models that read printed text, in batches: the objects of several searches share them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.batching.batcher import MicroBatcher
from sightline_server.domain.printed_text_models import TextDetectorSpec, TextReaderSpec
from sightline_server.domain.request import Lane
from sightline_server.ports import Clock
from sightline_server.stages.printed_text.characters import ReadLine
from sightline_server.stages.printed_text.reading import PrintedTextModels

Pixels = NDArray[np.uint8]
PATIENCE_S = 60.0
"""Seconds in which the text of an image of a product must be read; it has no deadline."""


@dataclass(frozen=True, slots=True)
class BatchedPrintedTextModels:
    """The two models with their batchers: `images` gives maps, `lines` text. `clock` is that of deadlines."""

    detector: TextDetectorSpec
    reader: TextReaderSpec
    images: MicroBatcher[Pixels, Pixels]
    lines: MicroBatcher[Pixels, ReadLine]
    clock: Clock

    def of_lane(self, lane: Lane) -> PrintedTextModels:
        """The models for calls of `lane`."""

        async def find(image: Pixels, deadline: float | None) -> Pixels:
            answer = await self.images.submit([image], deadline=self._until(deadline), lane=lane)
            return answer.results[0]

        async def read(lines: Sequence[Pixels], deadline: float | None) -> Sequence[ReadLine]:
            until, most = self._until(deadline), self.lines.max_batch
            found: list[ReadLine] = []
            for start in range(0, len(lines), most):
                answer = await self.lines.submit(lines[start : start + most], deadline=until, lane=lane)
                found += answer.results
            return found

        return PrintedTextModels(self.detector, self.reader, find, read)

    def _until(self, deadline: float | None) -> float:
        return self.clock() + PATIENCE_S if deadline is None else deadline
