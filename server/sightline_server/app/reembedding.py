"""A reembedding that a caller of the server starts: images embedded in the batch lane, the revision by its writer.

Rule: searches and writes go on. Images come from kept originals, public addresses and the import folder.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from sightline_server.app.in_thread import in_thread
from sightline_server.app.limits import catalog_limits, process_limits
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.living import LivingCatalog
from sightline_server.ingest.build import Progress
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.feeds.records import excerpt
from sightline_server.ingest.images import ImageLimits
from sightline_server.ingest.reembed.cache import EmbeddingCache
from sightline_server.ingest.reembed.reembed import Reembed, ReembedOptions
from sightline_server.jobs.job import JobResult
from sightline_server.jobs.progress import RowFailure, Tracker
from sightline_server.rpc.catalog.transfer_requests import ReembedRequest
from sightline_server.settings import Settings


def reembed_options(settings: Settings, wanted: ReembedRequest, network: CheckedNetwork) -> ReembedOptions:
    """The options of a served reembedding."""
    decode = catalog_limits(settings)
    return ReembedOptions(
        decode,
        settings.transfer.import_folder,
        ImageLimits(max_bytes=decode.max_bytes),
        decode_threads=1,
        decode_processes=process_limits(settings.decode),
        network=network,
        skip_missing=wanted.skip_missing,
        max_lost=wanted.max_lost,
    )


async def reembedding(
    folder: Path, living: LivingCatalog, embedder: EmbedderSpec, embed: Embed, options: ReembedOptions, tracker: Tracker
) -> JobResult:
    """Embeds what is missing and prepares the revision. Raises `SightlineError` as `Reembed`."""
    job = await asyncio.to_thread(Reembed, folder, embedder, options)
    tracker.expect(job.work.missing)
    with EmbeddingCache(folder, embedder, job.work.views) as cache:
        embedded = await job.embed(cache, embed, Progress(rows=tracker.read, problem=noting(tracker)))
        revision = job.work.ready
        if revision is None:
            revision = await in_thread(lambda check: prepared(job, cache, living, check))
    tracker.written(revision.rows)
    return JobResult(
        revision.rows,
        revision.items,
        revision.name,
        revision.number,
        job.work.reused,
        embedded.losses.rows_lost,
    )


def prepared(job: Reembed, cache: EmbeddingCache, living: LivingCatalog, check: Callable[[], None]) -> Revision:
    """Makes the revision; blocking. `check` raises where the operation was cancelled."""
    return job.prepare(cache, living, lambda done: check())


def noting(tracker: Tracker) -> Callable[[Problem], None]:
    """Notes problems in the tracker of an operation."""

    def problem(found: Problem) -> None:
        tracker.problem(RowFailure(found.row, found.text, excerpt(found.product_id), found.skipped))

    return problem
