"""Feed rows -> rows with the bytes of their images, for a server that embeds them.

Rule: links, products and problems are those of a build on this machine; only decoding and embedding are left out.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from sightline_server.domain.items import Product
from sightline_server.ingest.feed_rows import FeedRow, Problem, ProblemKind
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.link_secrets import publishable_link
from sightline_server.ingest.links import UnreadableImageError, WebLink, classify
from sightline_server.ingest.preparation import key_of, unreadable
from sightline_server.ingest.published import published

GROUP_ROWS = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A row, its product as callers may see it, and its images by their published links, at least one."""

    row: FeedRow
    product: Product
    images: tuple[tuple[str, bytes], ...] = field(repr=False)


async def fetched_rows(
    rows: Iterator[FeedRow | Problem], source: ImageSource
) -> AsyncGenerator[Fetched | Problem, None]:
    """The rows in order, each followed by its problems. The images of a few rows are read side by side."""
    async with source:
        while group := list(islice(rows, GROUP_ROWS)):
            for outcome in await asyncio.gather(*(fetched(row, source) for row in group)):
                for each in outcome:
                    yield each


async def fetched(row: FeedRow | Problem, source: ImageSource) -> Sequence[Fetched | Problem]:
    """One row and its problems. Raises `SightlineError` for a fault that is not the row's."""
    if isinstance(row, Problem):
        return [row]
    outcomes = await asyncio.gather(*(image(link, source) for link in row.images))
    images = {key: (link, data) for each in outcomes if isinstance(each, tuple) for key, link, data in [each]}
    failed = unreadable(row, outcomes)
    kind, product_id = ProblemKind.UNREADABLE_IMAGE, row.product.id
    if not images:
        return [Problem(row.row, kind, "; ".join(failed), product_id)]
    product = published(row.product, next(iter(images.values()))[0])
    warnings = [Problem(row.row, kind, text, product_id, skipped=False) for text in failed]
    return [Fetched(row, product, tuple(images.values())), *warnings]


async def image(link: str, source: ImageSource) -> tuple[str, str, bytes] | UnreadableImageError:
    """The key, the published link and the bytes of an image, or why there are none."""
    try:
        target = classify(link)
        data = await source.read(link)
    except UnreadableImageError as error:
        return error
    return key_of(target), publishable_link(target.url if isinstance(target, WebLink) else link), data


def driven(source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """The values of an async generator for code without an event loop, in one thread."""
    with asyncio.Runner() as runner:
        try:
            while (value := runner.run(_next(source))) is not None:
                yield value
        finally:
            runner.run(source.aclose())


async def _next(source: AsyncGenerator[T, None]) -> T | None:
    return await anext(source, None)
