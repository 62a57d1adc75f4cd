"""Feed rows -> rows whose images are read and decoded.

Rule: whatever fails for a row is a `Problem` of that row. A link that was met before is neither read nor embedded
again.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.ingest.embedding import catalog_crops, described_image
from sightline_server.ingest.feed_rows import FeedRow, Problem, ProblemKind
from sightline_server.ingest.guard import Losses
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.link_secrets import masked_link, publishable_link
from sightline_server.ingest.links import FileLink, UnreadableImageError, WebLink, classify
from sightline_server.ingest.prepared import Decoded, Group, Keep, Prepared, PreparedImage, RowOutcome, keep_nothing
from sightline_server.ingest.published import published
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.reading import TextReading


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
