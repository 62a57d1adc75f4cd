"""A server of search with an audit log over the fake engine, to be killed: `python -m tests.support.audited_server
FOLDER`.

It prints its address, and serves until it is killed or its standard input ends.
"""

import asyncio
import sys
from pathlib import Path

from tests.support.lens import serving


async def main(folder: Path) -> None:
    async with serving(audit={"folder": folder}) as served:
        print(served.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
