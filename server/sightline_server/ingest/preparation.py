"""Feed rows -> rows whose images are read and decoded, in groups and ahead of the embedder.

Rule: bounded whatever the feed's length, and whatever fails for a row is a `Problem` of that row. A link that was met
before is neither read nor embedded again.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.ingest.embedding import catalog_crops, described_image
from sightline_server.ingest.feed import FeedRow, Problem, ProblemKind
from sightline_server.ingest.guard import Losses
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.link_secrets import masked_link, publishable_link, user_info, without_user_info
from sightline_server.ingest.links import FileLink, UnreadableImageError, WebLink, classify
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.reading import MakeTextReading, TextReading
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.stages.processes.process import ProcessLimits

GROUP_ROWS = 32
GROUPS_AHEAD = 2

FREE_TEXTS = ("title", "brand", "category", "price", "availability", "item_group_id", "gtin")
LINK_COLUMNS = ("link", "url", "href")

Crop = NDArray[np.uint8]
Keep = Callable[[bytes], Awaitable[str]]
"""Keeps the file of an image that was decoded; its name as `CatalogRow.originals` has it, or an empty text."""


async def keep_nothing(image: bytes) -> str:
    """`Keep` of a catalog that keeps no originals."""
    return ""


def in_thread(add: Callable[[bytes], str]) -> Keep:
    """`Keep` by a function that blocks."""

    async def keep(content: bytes) -> str:
        return await asyncio.to_thread(add, content)

    return keep


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """One image: its `link` as callers get it, and its `crops` uint8 [h,w,3], one for each view, or else the
    `embeddings` float32 [N,D] that an earlier product's row brought.

    `key` is equal for equal images. `original` names its kept file; it is empty where none is kept, and for an image
    that an earlier row brought, whose file is kept already. `features` names its kept local features.
    """

    link: str
    key: str
    crops: tuple[Crop, ...] = ()
    embeddings: NDArray[np.float32] | None = None
    original: str = ""
    features: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The crops of an image, one for each view, and the names of its kept file and its kept local features."""

    crops: tuple[Crop, ...]
    original: str
    features: str


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A row with its readable images, at least one; `product` is the one to publish."""

    row: FeedRow
    product: Product
    images: tuple[PreparedImage, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RowOutcome:
    """The outcome of one row with its `problems`; `prepared` is None where no image can be read."""

    prepared: Prepared | None
    problems: list[Problem]
    images_lost: int


@dataclass(frozen=True, slots=True)
class Group:
    """Some rows of the feed, prepared, and the problems of others; `rows` is their number together."""

    rows: int
    prepared: list[Prepared] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Reads and decodes the images of feed rows; `running` are the images on their way, by their key.

    `keep_features` keeps the local features of an image; None for a catalog that has none. Each image gets up to
    `views` crops. `text` reads what is printed on it, where that is read.
    """

    source: ImageSource
    limits: DecodeLimits
    embedder: EmbedderSpec
    threads: PhotoThreads
    seen: SeenImages
    same: SameImages
    keep: Keep = keep_nothing
    keep_features: Keep | None = None
    views: int = ONE_VIEW
    text: TextReading | None = None
    running: dict[str, asyncio.Task[Decoded | UnreadableImageError]] = field(default_factory=dict)

    async def group(self, rows: Sequence[FeedRow | Problem]) -> Group:
        """The outcome of some rows, whose images are read side by side."""
        problems = [row for row in rows if isinstance(row, Problem)]
        usable = [row for row in rows if isinstance(row, FeedRow)]
        outcomes = await asyncio.gather(*(self.outcome(row) for row in usable))
        prepared = [outcome.prepared for outcome in outcomes if outcome.prepared is not None]
        problems += [problem for outcome in outcomes for problem in outcome.problems]
        lost = sum(problem.skipped and problem.kind is not ProblemKind.DUPLICATE_ID for problem in problems)
        images = sum(len(row.images) for row in usable)
        images_lost = sum(outcome.images_lost for outcome in outcomes)
        # A warning is not a row: it follows the row that it is about.
        count = sum(1 for row in rows if not isinstance(row, Problem) or row.skipped)
        return Group(count, prepared, problems, Losses(len(prepared) + lost, lost, images, images_lost))

    async def outcome(self, row: FeedRow) -> RowOutcome:
        """The outcome of one row, whatever its values do. Raises `SightlineError` as `crop`."""
        try:
            return await self.row(row)
        except SightlineError:
            raise
        except Exception as error:  # an odd value must cost its row only
            text = f"the row cannot be read ({type(error).__name__})"
            problem = Problem(row.row, ProblemKind.MALFORMED_ROW, text, row.product.id)
            self.forget(row)
            return RowOutcome(None, [problem], len(row.images))

    async def row(self, row: FeedRow) -> RowOutcome:
        """One product with the images that can be read."""
        outcomes = await asyncio.gather(*(self.image(link) for link in row.images))
        images = {image.key: image for image in outcomes if isinstance(image, PreparedImage)}
        failed = unreadable(row, outcomes)
        kind, product_id = ProblemKind.UNREADABLE_IMAGE, row.product.id
        if not images:
            return RowOutcome(None, [Problem(row.row, kind, "; ".join(failed), product_id)], len(failed))
        problems = [Problem(row.row, kind, text, product_id, skipped=False) for text in failed]
        product = published(row.product, next(iter(images.values())).link)
        return RowOutcome(Prepared(row, product, tuple(images.values())), problems, len(failed))

    async def image(self, link: str) -> PreparedImage | UnreadableImageError:
        """One image, or why there is none. Images that are read already, or right now, are not read again."""
        try:
            target = classify(link)
        except UnreadableImageError as error:
            return error
        key = key_of(target)
        published_link = publishable_link(target.url if isinstance(target, WebLink) else link)
        known = self.seen.get(key)
        if isinstance(known, UnreadableImageError):
            return known
        if known is not None:
            return PreparedImage(published_link, key, embeddings=known, features=self.seen.features(key))
        task = self.running.get(key)
        if task is None:
            task = self.running[key] = asyncio.create_task(self.crop(target, key))
        outcome = await task
        if isinstance(outcome, UnreadableImageError):
            return outcome
        return PreparedImage(published_link, key, outcome.crops, original=outcome.original, features=outcome.features)

    async def crop(self, target: WebLink | FileLink, key: str) -> Decoded | UnreadableImageError:
        """The crops of one image, or why there is none, whatever its bytes or its server do.

        Raises `SightlineError` for a fault that is not the image's, such as a malformed proxy.
        """

        async def decoded(image: bytes) -> Decoded:
            if self.keep_features is None:
                crops, features = await catalog_crops(image, self.threads, self.limits, self.embedder, self.views), ""
            else:
                described = await described_image(
                    image, self.threads, self.limits, self.embedder, self.views, self.text
                )
                crops, features = described.crops, await self.keep_features(described.features)
            self.same.add(image)
            return Decoded(crops, await self.keep(image), features)

        try:
            return await self.source.use(target, decoded)
        except UnreadableImageError as error:
            failure = error
        except SightlineError:
            raise
        except Exception as error:  # libraries raise whatever their parsers meet; it must cost this image only
            failure = UnreadableImageError(f"the image cannot be read ({type(error).__name__})")
        self.seen.fail(key, str(failure))
        self.running.pop(key, None)
        return failure

    def embedded(self, key: str) -> None:
        """Forgets the crop of an image, whose embedding is kept by now."""
        self.running.pop(key, None)

    def forget(self, row: FeedRow) -> None:
        """Forgets the crops of a row that is not embedded."""
        for link in row.images:
            # Raises again what made the row fail.
            with contextlib.suppress(Exception):
                self.running.pop(key_of(classify(link)), None)


def key_of(target: WebLink | FileLink) -> str:
    """A text that is equal for links to the same image."""
    return target.url if isinstance(target, WebLink) else target.path


def unreadable(row: FeedRow, outcomes: Sequence[object]) -> list[str]:
    """The images of `row` that cannot be read, each with the reason; `outcomes` has an error for these."""
    return [
        f"{masked_link(link)}: {error}"
        for link, error in zip(row.images, outcomes, strict=True)
        if isinstance(error, UnreadableImageError)
    ]


def published(product: Product, first_link: str) -> Product:
    """`product` as callers may see it: without the user info of any link, its `image_link` absolute.

    `first_link` replaces an `image_link` that held user info.
    """
    image_link = product.image_link
    start, end = user_info(image_link)
    try:
        target = classify(image_link)
        image_link = target.url if isinstance(target, WebLink) else image_link
    except UnreadableImageError:
        image_link = first_link if start < end else image_link
    return replace(
        product,
        image_link=publishable_link(image_link),
        link=publishable_link(product.link),
        attributes={name: publishable(name, text) for name, text in product.attributes.items()},
        **{name: without_user_info(getattr(product, name)) for name in FREE_TEXTS},
    )


def publishable(name: str, text: str) -> str:
    """The value of an attribute as callers may see it; the column's name says whether it is a link as a whole."""
    return publishable_link(text) if name.endswith(LINK_COLUMNS) else without_user_info(text)


async def prepared_groups(
    rows: Iterator[FeedRow | Problem],
    source: ImageSource,
    limits: DecodeLimits,
    embedder: EmbedderSpec,
    seen: SeenImages,
    same: SameImages,
    decode_threads: int,
    decode_processes: ProcessLimits,
    keep: Keep = keep_nothing,
    keep_features: Keep | None = None,
    views: int = ONE_VIEW,
    read_text: MakeTextReading | None = None,
) -> AsyncGenerator[tuple[Group, Preparation]]:
    """The feed in groups, in order, the next ones being prepared while the caller works on one."""
    ahead: list[asyncio.Task[Group]] = []
    processes = DecodeProcesses(decode_processes)

    def next_rows() -> list[FeedRow | Problem]:
        return list(islice(rows, GROUP_ROWS))

    loop = asyncio.get_running_loop()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="ingest-feed") as reading,
        ThreadPoolExecutor(decode_threads, thread_name_prefix="ingest-decode") as executor,
    ):
        threads = PhotoThreads(executor, processes)
        text = None if read_text is None else read_text(threads)
        preparation = Preparation(source, limits, embedder, threads, seen, same, keep, keep_features, views, text)
        try:
            while True:
                # In a thread: a long row, or a slow disk, must not hold up the searches of a server.
                while len(ahead) < GROUPS_AHEAD and (group := await loop.run_in_executor(reading, next_rows)):
                    ahead.append(asyncio.create_task(preparation.group(group)))
                if not ahead:
                    return
                yield await ahead.pop(0), preparation
        finally:
            tasks = [*ahead, *preparation.running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await processes.close()
