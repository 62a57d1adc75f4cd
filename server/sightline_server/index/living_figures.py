"""The figures of a living catalog, put together from its store, its index and its disk.

Rule: nothing waits for the writer: what is read of the store are single values that it replaces as a whole.
"""

from datetime import datetime
from pathlib import Path

from sightline_server.catalog.disk_use import disk_use
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.living import LiveSizes, LivingFigures


def figures_of(folder: Path, store: CatalogStore, sizes: LiveSizes) -> LivingFigures:
    """The figures now; reads the sizes of the files in `folder`, so not for the event loop. Raises `OSError`."""
    disk = disk_use(folder)
    return LivingFigures(
        products=sizes.products,
        log_operations=max(store.pending, 0),
        log_bytes=disk.log_bytes,
        base_images=sizes.base_images,
        delta_images=sizes.delta_images,
        merge_at_images=sizes.merge_at_images,
        dead_images=sizes.dead_images,
        base_memory_bytes=sizes.base_memory_bytes,
        delta_memory_bytes=sizes.delta_memory_bytes,
        base_versions=disk.base_versions,
        base_bytes=disk.base_bytes,
        disk_free_bytes=disk.free_bytes,
        last_checkpoint_at=datetime.fromisoformat(store.current_revision.created_at).timestamp(),
    )
