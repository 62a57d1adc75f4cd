"""The products near labelled photos, by adapters that have not seen the photo.

    embeddings of photos -> adapter fitted on the other half of them -> nearest products
Rule: an adapter is never asked about photos that it was fitted from: it is better there than with those of callers.
"""

from dataclasses import replace

from sightline_server.ingest.adapting.candidate import Candidate, scale_of
from sightline_server.ingest.adapting.choosing import SEED
from sightline_server.ingest.adapting.fitting import ShopPhotos, fit
from sightline_server.ingest.adapting.head import Tick
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.nearness import Near, nearest_products
from sightline_server.ingest.adapting.splits import halves_of


def held_out(photos: ShopPhotos, images: ShopImages, chosen: Candidate | None, count: int, tick: Tick) -> Near:
    """The `count` products nearest to each of `photos`, by an adapter like `chosen` that has not seen the photo."""
    if chosen is None:
        return nearest_products(photos.embeddings, images, count)
    scale = scale_of(*chosen.held.medians)
    found = Near.of_nothing(len(photos), count)
    halves = halves_of(photos, SEED)
    for seen, held in (halves, halves[::-1]):
        adapter = replace(fit(photos.take(seen), images, chosen.method, seed=SEED, tick=tick), scale=scale)
        found.put(held, nearest_products(photos.embeddings[held], images, count, adapter))
    return found
