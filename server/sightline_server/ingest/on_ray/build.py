"""The build on Ray: plan, embed, and then the local build, for which every image is embedded already.

Rule: one process writes the catalog, and it reads no image. The feed is the same from the beginning to the end.
"""

import hashlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.build import build_catalog
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.building.report import BuildReport, Progress
from sightline_server.ingest.building.sources import feed_name
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, Problem
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.on_ray.checkpoint import Checkpoint
from sightline_server.ingest.on_ray.embedding_run import EmbeddingRun, Pool
from sightline_server.ingest.on_ray.plan import Plan

Connect = Callable[[], AbstractContextManager[Pool]]
RunBuild = Callable[[Coroutine[Any, Any, BuildReport]], BuildReport]
"""Runs the build that writes the catalog, such as `asyncio.run`."""


@dataclass(frozen=True, slots=True)
class RayReport:
    """The report of the build, and the images that were embedded by this run and by earlier ones."""

    report: BuildReport
    embedded: int
    kept: int
    workers: int


def build_on_ray(
    options: BuildOptions, folder: Path, connect: Connect, embedder: str, run_build: RunBuild, progress: Progress
) -> RayReport:
    """Builds the catalog `options.out` with the workers of `connect`; what they embed is kept in `folder` meanwhile.

    `embedder` is the embedder as the caller named it, empty for the first one.

    Raises `SightlineError` as `build_catalog`, and of kind CONFIGURATION where `folder` is of another feed, where the
    feed changed, and where the catalog is to keep more than embeddings.
    """
    feed = options.feed
    assert isinstance(feed, OpenFeed)
    require_embeddings_only(options)
    digest = feed_digest(feed)
    with Checkpoint(folder, {"feed": digest, "options": reading(options), "embedder": embedder}) as checkpoint:
        plan = Plan(strict_rows(options), checkpoint.embedded.copy())
        run = embedded_blocks(plan, connect, checkpoint, progress)
        if feed_digest(feed) != digest:
            message = (
                f"{feed_name(feed)} changed during the build, and nothing was built. Remove {folder} and build it again"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        if checkpoint.embedder is None:
            message = f"no row of {feed_name(feed)} names an image that can be read"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message)
        report = run_build(
            build_catalog(
                # Whatever the embedder's configuration says: the workers send embeddings only.
                replace(options, local_features=False),
                checkpoint.embedder,
                refuse_images,
                datetime.now(UTC),
                Progress(problem=progress.problem, waiting=progress.waiting),
                checkpoint.fill,
            )
        )
        checkpoint.remove()
    return RayReport(report, run.embedded if run else 0, plan.kept, len(run.workers) if run else 0)


def embedded_blocks(plan: Plan, connect: Connect, checkpoint: Checkpoint, progress: Progress) -> EmbeddingRun | None:
    """Embeds what the checkpoint lacks; None where it lacks nothing, so that no worker is started."""
    blocks = plan.blocks()
    first = next(blocks, None)
    run = None
    if first is not None:
        with connect() as pool:
            run = EmbeddingRun(pool, checkpoint, progress)
            run.run(chain([first], blocks))
    # Rows behind the last image to embed are in no block.
    if run is None or run.rows < plan.rows:
        progress.rows(plan.rows)
    return run


def require_embeddings_only(options: BuildOptions) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where the catalog is to keep files of its images."""
    for kept, name in ((options.keeps_originals, "keep-originals"), (options.keeps_features, "local-features")):
        if kept:
            message = f"a build on Ray keeps embeddings only; add --no-{name}, or build without --on ray"
            raise SightlineError(ErrorKind.CONFIGURATION, message)


def feed_digest(feed: OpenFeed) -> str:
    """The SHA-256 of the feed's content."""
    feed.file.seek(0)
    return hashlib.file_digest(feed.file, "sha256").hexdigest()  # type: ignore[arg-type]


def reading(options: BuildOptions) -> str:
    """A digest of the options that decide which images a feed names, and how they are decoded and viewed."""
    feed = options.feed_options
    facts: tuple[object, ...] = (feed.base_url, feed.encoding, str(images_root(options)), options.decode)
    # A checkpoint of an earlier version goes on where its images have one view.
    facts += (options.image_views,) if options.image_views > ONE_VIEW else ()
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def images_root(options: BuildOptions) -> Path | None:
    """The folder that relative links start from; None for a downloaded feed, which may not name files."""
    root = options.images or options.feed.parent
    return root and root.resolve()


def strict_rows(options: BuildOptions) -> Iterator[FeedRow | Problem]:
    """The rows of the feed. Raises `SightlineError` at the first problem where the build is strict."""
    for row in read_feed(options.feed, options.feed_options):
        if options.strict and isinstance(row, Problem):
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"{feed_name(options.feed)}, {row}")
        yield row


async def refuse_images(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """`Embed` of a build whose images are all embedded: another one means that the feed has changed."""
    raise SightlineError(ErrorKind.CONFIGURATION, "the feed changed during the build, and nothing was built")


def sent_options(options: BuildOptions) -> BuildOptions:
    """The options as workers get them: without the open feed, and with folders that do not depend on where they run."""
    cache = options.cache and options.cache.resolve()
    return replace(
        options,
        feed=Path(feed_name(options.feed)),
        images=None,
        out=options.out.resolve(),
        cache=cache,
        views=options.image_views,  # of the catalog that is replaced, which is on this machine
    )
