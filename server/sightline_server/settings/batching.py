"""The settings of the micro-batchers."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Part, Positive


class BatchSettings(Part):
    """One batcher: `max_batch` items per call, `max_waiting` items in its queue, `slots` concurrent calls.

    0 slots means one more than the model's instances, so that the next batch is at the engine when a batch ends.
    """

    max_batch: Positive = 16
    max_waiting: Positive = 256
    slots: Annotated[int, Field(ge=0)] = 0


class BatchingSettings(Part):
    """The batchers of the hot path."""

    frames: BatchSettings = BatchSettings(max_batch=8)
    """Photos for the detector."""
    crops: BatchSettings = BatchSettings(max_batch=32, max_waiting=1024)
    """Object crops for the embedder."""
    queries: BatchSettings = BatchSettings(max_batch=256, max_waiting=1024)
    """Embeddings for the index."""
    text_images: BatchSettings = BatchSettings(max_batch=4, max_waiting=64)
    """Parts of photos for the model that finds printed text."""
    text_lines: BatchSettings = BatchSettings(max_batch=16, max_waiting=512)
    """Lines of text for the model that reads them; `max_waiting` must hold those of an object."""
