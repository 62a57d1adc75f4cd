"""The option that says how many views of each image a catalog has, and what `catalog info` shows of them."""

from typing import TYPE_CHECKING, Annotated

import typer

from sightline_server.counting import counted

if TYPE_CHECKING:
    from sightline_server.index.opened_catalog import Catalog

BuildViews = Annotated[
    int | None,
    typer.Option(
        "--views",
        min=1,
        max=2,
        help="Views of each image to search: 1 for the whole image, 2 for the image without its plain margin as well "
        "(default: as the catalog that is replaced, else the setting server.image_views).",
    ),
]
ReembedViews = Annotated[
    int | None,
    typer.Option(
        "--views",
        min=1,
        max=2,
        help="Views of each image: 1 for the whole image, 2 for the image without its plain margin as well (default: "
        "as the catalog).",
    ),
]


def images_text(catalog: "Catalog") -> str:
    """The number of images of an opened catalog, and that of their vectors where it is another one."""
    from sightline_server.domain.image_views import ONE_VIEW
    from sightline_server.index.image_counts import opened_image_count

    facts = catalog.facts
    if facts.views == ONE_VIEW:
        return f"{facts.vectors} (at most {facts.max_images} of one product)"
    images = opened_image_count(facts, catalog.owners, catalog.image_links)
    vectors = f"{counted(facts.vectors, 'vector')}, at most {facts.max_images} of one product"
    return f"{images}, in two views where they have a plain margin ({vectors})"
