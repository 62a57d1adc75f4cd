"""The objects of a photo -> embeddings, for the catalogs of one embedder.

Rule: crops have the input size and the preprocess of this embedder and go through its own batcher, so that no batch
mixes embedders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.batching.batcher import MicroBatcher
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import EmbeddedObject, PhotoObject
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.domain.stages import CROP, EMBED
from sightline_server.stages.crop import crop
from sightline_server.stages.embed import usable
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.portions import portions
from sightline_server.stages.redact import Views
from sightline_server.telemetry.stopwatch import Stopwatch

Pixels = NDArray[np.uint8]
WHOLE = Box.whole()
CropsBatcher = MicroBatcher[Pixels, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Portion:
    """Objects of one photo that go through the rest of the search together, with their crops."""

    objects: Sequence[PhotoObject]
    crops: Sequence[Pixels]


@dataclass(frozen=True, slots=True)
class ObjectEmbedder:
    """Embeds objects by the embedder of `spec`, whose batcher is `crops`; of a whole photo the part `middle`."""

    spec: EmbedderSpec
    crops: CropsBatcher
    threads: PhotoThreads
    middle: Box = WHOLE

    def portions(self, objects: Sequence[PhotoObject]) -> list[Sequence[PhotoObject]]:
        """The objects in the portions that suit the embedder now, in order."""
        return portions(objects, self.spec.batch_cost, self.crops.free_slots)

    async def crop(self, views: Views, objects: Sequence[PhotoObject], watch: Stopwatch) -> Portion:
        """The objects with their crops."""
        with watch.step(CROP) as step:

            def work() -> list[Pixels]:
                step.runs()
                boxes = [self.middle if item.is_whole_photo else item.box for item in objects]
                return [crop(views.of(box), box, self.spec).pixels for box in boxes]

            return Portion(objects, await self.threads.run(work))

    async def embed(self, query: SearchQuery, portion: Portion, watch: Stopwatch) -> list[EmbeddedObject]:
        """The objects with their embeddings, in order, without those whose embedding cannot be searched.

        Raises `SightlineError`, MODEL_ANSWER for an answer of the wrong shape.
        """
        with watch.step(EMBED) as step:
            answer = await self.crops.submit(
                portion.crops, deadline=query.deadline, lane=query.lane, on_start=step.runs
            )
        return [
            EmbeddedObject(item, embedding)
            for item, embedding in zip(portion.objects, answer.results, strict=True)
            if usable(embedding)
        ]

    async def warm_up(self, deadline: float) -> None:
        """Embeds one crop of zeros through the batcher. Raises `SightlineError`."""
        black = np.zeros((self.spec.height, self.spec.width, 3), np.uint8)
        await self.crops.submit([black], deadline=deadline, lane=Lane.INTERACTIVE)
