"""The embedding of product images in a server with several embedders: each catalog's images go to its own.

Rule: a catalog names the embedder that made its vectors, and its images are embedded by the served one that makes such
vectors, or by none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import EmbedderSpec
from sightline_server.ports import ImageEmbedder


@dataclass(frozen=True, slots=True)
class ImagesByEmbedder:
    """`ports.ImageEmbedders` over one `ImageEmbedder` for each of `embedders`, by its identity."""

    embedders: ServedEmbedders
    images: Mapping[str, ImageEmbedder]

    def of(self, embedder: EmbedderSpec) -> ImageEmbedder:
        """See `ports.ImageEmbedders`."""
        return self.images[self.embedders.serving(embedder).identity]
