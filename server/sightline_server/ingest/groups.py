"""A feed in groups of prepared rows, the next ones being prepared while the embedder works on one.

Rule: bounded whatever the feed's length: at most `GROUPS_AHEAD` groups of `GROUP_ROWS` rows are prepared ahead. When
the caller ends, so do the tasks, threads and processes that were started here.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.ingest.feed_rows import FeedRow, Problem
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.preparation import Preparation
from sightline_server.ingest.prepared import Group, Keep, keep_nothing
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.reading import MakeTextReading
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.stages.processes.process import ProcessLimits

GROUP_ROWS = 32
GROUPS_AHEAD = 2


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
