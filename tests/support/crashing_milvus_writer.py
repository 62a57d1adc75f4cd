"""A process that writes a catalog in Milvus and is meant to be killed.

`python -m tests.support.crashing_milvus_writer URI DIR NAME` upserts and deletes products without a pause, and
prints `+ID SEED` or `-ID 0` for each that was acknowledged.
"""

import asyncio
import sys
from pathlib import Path

from tests.support.catalogs import unit_vectors
from tests.support.milvus_living import EMBEDDER, living, product


async def write(uri: str, folder: Path, name: str) -> None:
    """Writes until the process is ended."""
    async with living(uri, folder, name) as served:
        served.written.live[name].require_writable()
        for number in range(1, 1_000_000):
            vector = unit_vectors(1, number + 10_000, EMBEDDER.dimension)[0]
            [status] = await served.upsert(product(f"new-{number % 7}", vector, title=str(number)))
            assert not status.status.code, status
            print(f"+new-{number % 7} {number}", flush=True)
            if number % 3 == 0:
                [status] = await served.delete(f"new-{(number - 1) % 7}")
                assert not status.status.code, status
                print(f"-new-{(number - 1) % 7} 0", flush=True)


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
