"""The settings of reading printed text."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Part


class PrintedTextSettings(Part):
    """Reading of the text that is printed on an object, which is compared with the names of the products nearest to it
    and with the text of their images.

    Needs two more models: `sightline models use printed-text`.
    """

    enabled: bool = False
    """Reads text in searches, and in the images of products that are written to a catalog with local features."""
    contribution: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Most that is added to a product's score, for the same text, in units of cosine similarity, in place of the weight
    in the file of `local_features.weights`."""
    most_products: Annotated[int, Field(ge=2, le=100)] = 20
    """Products of an object that are compared, those of the highest similarity."""
    most_objects: Annotated[int, Field(ge=1, le=100)] = 2
    """Objects of a photo whose text is read, the best first; the others are answered without, and `Done.skipped` says
    so. The time grows with them, a few hundred ms of CPU an object."""
    most_lines: Annotated[int, Field(ge=1, le=64)] = 16
    """Lines of text that are read on an object, the largest ones."""
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.6
    """A line that is read with a lower mean probability of its characters does not count."""
    whole_photo_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of an object that is the whole photo only this middle part is read, as a fraction of each edge."""
    min_time_left_s: Annotated[float, Field(ge=0)] = 1.0
    """An object for which the deadline is nearer than this is answered without, and `Done.skipped` says so. The
    comparison ends when half of it is left."""
