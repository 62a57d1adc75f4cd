"""The process that is ended: its threads write groups to a catalog and print what happened to each.

    python -m load_tests.catalog_crash.writing CATALOG WRITERS SEED
Rule: the line of an acknowledged group is printed when the store has returned.
"""

import random
import signal
import sys
import threading
from pathlib import Path

from load_tests.catalog_crash.rows import GROUP, product_row
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog, ProductUpdate

CHECKPOINT_EVERY = 25
COMPACT_EVERY = 4
"""Groups of one writer between two checkpoints, and checkpoints between two compactions."""
STOPPED = 15
"""The exit code of a process that closed its catalog."""


def write_groups(catalog: Path, writers: int, seed: int) -> None:
    """The process that is killed: `writers` threads write groups until the end, and print what happened to each."""
    signal.signal(signal.SIGTERM, stop)
    with LivingCatalog(catalog) as living:
        print("ready", flush=True)
        threads = [
            threading.Thread(target=write_as, args=(living, number, seed), daemon=True) for number in range(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def stop(number: int, frame: object) -> None:
    """Ends the main thread, which closes the catalog while the others write."""
    raise SystemExit(STOPPED)


def write_as(living: LivingCatalog, writer: int, seed: int) -> None:
    """One writer: random upserts, updates and deletes of its products, until the catalog is closed."""
    try:
        write_until_closed(living, writer, seed)
    except SightlineError as error:
        if error.kind is not ErrorKind.STOPPING:
            raise


def write_until_closed(living: LivingCatalog, writer: int, seed: int) -> None:
    """The writes of `write_as`."""
    choice = random.Random(seed * 1000 + writer)
    value = seed * 1_000_000 + writer * 100_000
    for turn in range(1, 100_000):
        value += 1
        slot = choice.randrange(8)
        ids = [f"w{writer}-{slot}-{number}" for number in range(GROUP)]
        kind = choice.choice(["upsert", "upsert", "update", "delete"])
        # The line of a group is one write, so that lines of two threads do not mix.
        sys.stdout.write(f"sent {kind} {writer} {slot} {value}\n")
        sys.stdout.flush()
        if kind == "upsert":
            living.upsert([product_row(each, value) for each in ids])
        elif kind == "update":
            living.update([ProductUpdate(each, {"brand": str(value)}) for each in ids])
        else:
            living.delete(ids)
        sys.stdout.write(f"done {kind} {writer} {slot} {value}\n")
        sys.stdout.flush()
        if turn % CHECKPOINT_EVERY == 0:
            living.checkpoint()
            if turn % (CHECKPOINT_EVERY * COMPACT_EVERY) == 0 and writer == 0:
                living.store.compact(keep=3)


if __name__ == "__main__":
    write_groups(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
