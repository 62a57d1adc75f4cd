"""The first search of a process, before it lets calls in, and the first crop of each further embedder."""

import io
import logging
import secrets
from contextlib import aclosing

import numpy as np
from PIL import Image

from sightline_server.access.own import own_pass
from sightline_server.app.clock import clock
from sightline_server.domain.events import Done
from sightline_server.domain.request import SearchQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pipeline import Pipeline
from sightline_server.settings import Settings

log = logging.getLogger(__name__)

WARM_UP_S = 60.0
"""Bound in seconds on the first search, which loads and allocates everything."""


async def warm_up(pipeline: Pipeline, settings: Settings) -> None:
    """Searches with one image of noise, so that no caller waits for what happens only once.

    Embedders of other catalogs than the default one embed a crop. Raises `SightlineError`.
    """
    query = SearchQuery(
        request_id=f"warm-up-{secrets.token_hex(4)}",
        photo=noise(),
        deadline=clock() + WARM_UP_S,
        max_objects=settings.limits.max_objects,
        max_products=settings.limits.default_products,
        min_similarity=0.0,
    )
    warm, catalog = "", settings.catalog_names.default
    try:
        async with aclosing(pipeline.run(query, own_pass(catalog))) as events:
            async for event in events:
                log.debug("warm-up: %s", type(event).__name__)
                if isinstance(event, Done):
                    warm = event.embedder
    except SightlineError as error:
        if error.kind is not ErrorKind.INDEX_UNAVAILABLE or catalog not in settings.milvus_catalogs:
            raise
        log.warning("warm-up: catalog %s is away, so only the embedders are warm", catalog)
    for identity, embedder in pipeline.embedders.items():
        if identity != warm:
            await embedder.warm_up(query.deadline)


def noise() -> bytes:
    """A JPEG of 640 x 480 random pixels, the same each time."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG")
    return encoded.getvalue()
