"""Many small catalogs in one server against one large one: seconds to the first SERVING, and resident memory.

    python -m load_tests.many_catalogs [--catalogs 200] [--products 100] [--turns 1] [--work DIR]
Rule: both servers hold the same number of products and are measured one after the other on the same machine, each after
a search in every catalog. Prints one JSON object. Exit code 1 when a start takes longer than `--start-limit-s`, or many
take more than `--memory-limit-mb` above one.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from load_tests.generator.photos import ROOT, SHOWROOM
from load_tests.large_catalog import write
from sightline_client import Client, Done
from sightline_client.local_server import LocalServer

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """The seconds and memory of one start; memory of the server's process, without that of the engine."""

    start_s: float
    resident_mb: float
    descriptors: int
    threads: int


def measure(catalogs: dict[str, Path], photo: bytes) -> Reading:
    """Starts a server with `catalogs`, searches in each, and reads what it takes."""
    arguments = [part for name, path in catalogs.items() for part in ("--catalog", f"{name}={path}")]
    with ExitStack() as stack:
        began = time.monotonic()
        server = stack.enter_context(LocalServer(extra_args=arguments))
        start_s = time.monotonic() - began
        client = stack.enter_context(Client(server.target))
        for name in catalogs:
            *_, done = client.search(photo, catalog=name, max_objects=1)
            if not isinstance(done, Done) or done.catalog != name:
                raise RuntimeError(f"catalog {name} did not answer")
        process = psutil.Process(server.pid)
        return Reading(
            round(start_s, 1),
            round(process.memory_info().rss / MB, 1),
            process.num_fds(),
            process.num_threads(),
        )


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalogs", type=int, default=200)
    parser.add_argument("--products", type=int, default=100, help="products of each small catalog")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--start-limit-s", type=float, default=30.0)
    parser.add_argument("--memory-limit-mb", type=float, default=500.0)
    parser.add_argument("--photo", type=Path, default=sorted(SHOWROOM.glob("*.jpg"))[0])
    parser.add_argument("--work", type=Path, help="folder for the catalogs, kept and used again")
    options = parser.parse_args()
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        small = {f"shop-{n:03}": work / f"small-{options.products}" / f"{n:03}" for n in range(options.catalogs)}
        large = {"large": work / f"large-{options.products * options.catalogs}"}
        for path, products in (
            *((path, options.products) for path in small.values()),
            (large["large"], options.products * options.catalogs),
        ):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, ROOT / "model_repository", products)
        photo = options.photo.read_bytes()
        one = [measure(large, photo) for _ in range(options.turns)]
        many = [measure(small, photo) for _ in range(options.turns)]
    return report(options, one, many)


def report(options: argparse.Namespace, one: list[Reading], many: list[Reading]) -> int:
    """Prints the readings; the exit code says whether the limits were kept."""
    start_s = max(reading.start_s for reading in many)
    more_mb = max(reading.resident_mb for reading in many) - min(reading.resident_mb for reading in one)
    kept = start_s <= options.start_limit_s and more_mb <= options.memory_limit_mb
    print(
        json.dumps(
            {
                "catalogs": options.catalogs,
                "products_each": options.products,
                "one": [{name: getattr(each, name) for name in Reading.__slots__} for each in one],
                "many": [{name: getattr(each, name) for name in Reading.__slots__} for each in many],
                "start_s": start_s,
                "resident_more_mb": round(more_mb, 1),
                "kept": kept,
            }
        )
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
