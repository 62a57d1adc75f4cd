"""A process with CatalogService that is meant to be killed: `python -m tests.support.crashing_catalog_service SHOP`.

Prints its address, then checkpoints again and again. SIGTERM closes the catalog and ends it with exit code 0.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from tests.support.catalog_service import catalog_serving

CHECKPOINT_EVERY_S = 0.15


async def serve(shop: Path) -> None:
    """Serves the catalog at `shop` until the process is ended."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with catalog_serving(shop) as served:
            print(served.address, flush=True)
            while True:
                await asyncio.sleep(CHECKPOINT_EVERY_S)
                await served.writer.checkpoint("on time")


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
