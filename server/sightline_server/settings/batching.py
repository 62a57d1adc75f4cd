"""The settings of the micro-batchers."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Part, Positive


class BatchSettings(Part):
    """One batcher: `max_batch` items a call, `max_waiting` items in its queue, `slots` calls at once.

    0 slots are one more than the model has instances: then a batch is at the engine when the one before it ends.
    """

    max_batch: Positive = 16
    max_waiting: Positive = 256
    slots: Annotated[int, Field(ge=0)] = 0


class BatchingSettings(Part):
    """The three batchers of the hot path."""

    frames: BatchSettings = BatchSettings(max_batch=8)
    """Photos to the detector."""
    crops: BatchSettings = BatchSettings(max_batch=32, max_waiting=1024)
    """Objects to the embedder."""
    queries: BatchSettings = BatchSettings(max_batch=256, max_waiting=1024)
    """Embeddings to the index."""
