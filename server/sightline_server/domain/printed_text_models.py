"""The roles of the models that read printed text, and the facts that the server needs about them.

Rule: both are there or none is. A server without them searches as before.
"""

from dataclasses import dataclass

from sightline_server.domain.models import Role, identity
from sightline_server.domain.preprocess import DETECTOR_PREPROCESS, EMBEDDER_PREPROCESS, Preprocess


@dataclass(frozen=True, slots=True)
class TextDetectorSpec:
    """The model that finds text: input uint8 [B,height,width,3], output uint8 [B,height,width].

    The output is the probability of each pixel to be inside a line of text, 255 for 1. `preprocess` makes the input.
    """

    name: str
    version: str
    height: int
    width: int
    preprocess: Preprocess = DETECTOR_PREPROCESS
    sha256: str = ""
    max_batch_size: int = 0
    instances: int = 1

    @property
    def identity(self) -> str:
        """Name and short digest, as metrics show it."""
        return identity(self.name, self.sha256)


@dataclass(frozen=True, slots=True)
class TextReaderSpec:
    """The model that reads a line of text: input uint8 [B,height,width,3], `steps` characters an image.

    Of `preprocess` the order of the channels counts: a line keeps its proportions and is at the left of its image.
    """

    name: str
    version: str
    height: int
    width: int
    steps: int
    preprocess: Preprocess = EMBEDDER_PREPROCESS
    sha256: str = ""
    max_batch_size: int = 0
    instances: int = 1

    @property
    def identity(self) -> str:
        """Name and short digest, as metrics show it."""
        return identity(self.name, self.sha256)


TEXT_DETECTOR = Role[TextDetectorSpec]("text_detector")
"""Finds lines of printed text."""

TEXT_READER = Role[TextReaderSpec]("text_reader")
"""Reads a line of printed text."""
