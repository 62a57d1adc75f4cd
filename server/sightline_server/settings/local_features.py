"""The settings of comparing local features."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Part


class LocalFeatureSettings(Part):
    """Comparison of local features of an object with those of the products nearest to it, in catalogs that keep them.

    Printed packages look alike to an embedder; their print does not.
    """

    enabled: bool = True
    """Compares them in searches of catalogs that keep local features (`--local-features`)."""
    weights: Path | None = None
    """File of the weights of the reasons that are found; if unset, `ranking_weights.json` next to the embedder in the
    model repository, or else the shipped weights. A catalog that `sightline adapt --labels` has fitted weights for is
    ordered by its own."""
    contribution: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Most that is added to a product's score for points in common, in units of cosine similarity, in place of the
    weight in the file."""
    colour_contribution: Annotated[float, Field(ge=0, le=0.3)] | None = None
    """Weight of the colours of an object as a whole, in place of the weight in the file. The likeness 0..1 of the
    colours of a product's image to those of the object, minus the average of the products that are compared, times this
    is added to the product's score. 0 compares no colours."""
    most_products: Annotated[int, Field(ge=1, le=100)] = 20
    """Products of an object that are compared, those of the highest similarity. The time grows with them, about 2 ms
    of CPU a product."""
    most_objects: Annotated[int, Field(ge=1, le=100)] = 4
    """Objects of a photo that are compared, the best first; the others are answered without, and `Done.skipped` says
    so. The time grows with them, about 80 ms of CPU an object."""
    whole_photo_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Of an object that is the whole photo only this middle part is compared, as a fraction of each edge: the edges
    often show the surroundings, which have many points."""
    min_time_left_s: Annotated[float, Field(ge=0)] = 0.5
    """An object for which the deadline is nearer than this is answered without the comparison, and `Done.skipped` says
    so. The comparison ends when half of it is left."""
