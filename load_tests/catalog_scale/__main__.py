"""Figures of a catalog by its size: `python -m load_tests.catalog_scale`.

    python -m load_tests.catalog_scale [--sizes 10k,100k,1m] [--dimension 256] [--wide 100k x 1280] [--exact-mib 512]
Rule: everything is written to a temporary folder and removed; each catalog is opened in a new process. Prints tables
on standard error and one JSON object as the last line of standard output. Exit code 1 when a bound is missed: recall@10
0.95 for every search, and 60 s for the start of a million products.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from load_tests.catalog_scale.reading import MB, Reading, Search
from load_tests.catalog_scale.shop import Size, write_shop
from load_tests.generator.photos import ROOT
from sightline_server.cli.catalog_index import HEAD, row_of
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice.choosing import MIB, IndexPolicy, choose_index
from sightline_server.index.choice.shelf import FOLDER

LEAST_RECALL = 0.95
START_S = 60.0
MILLION = 1_000_000
UNITS = {"k": 1000, "m": MILLION}
FIGURES = ("build_s", "choose_s", "start_s", "resident_mb", "peak_mb", "disk_mb", "index_mb")


@dataclass(frozen=True, slots=True)
class Grown:
    """The figures of one size. `index_mb` is the part of the disk that the index may be loaded from."""

    size: Size
    build_s: float
    choose_s: float
    disk_mb: float
    index_mb: float
    reading: Reading


def grow(size: Size, folder: Path, exact_mib: int, queries: int, limit_s: float) -> Grown:
    """Builds a catalog of `size` in `folder`, chooses its index, opens it in a new process and removes nothing."""
    note(f"{size}: building")
    began = time.monotonic()
    write_shop(folder, size)
    build_s = time.monotonic() - began
    choose_s = choose(folder, IndexPolicy(exact_mib * MIB, limit_s))
    note(f"{size}: opening")
    command = [sys.executable, "-m", "load_tests.catalog_scale.reading", str(folder), str(exact_mib), str(queries)]
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=3600)
    facts = json.loads(answer.stdout.splitlines()[-1])
    searches = tuple(Search(**each) for each in facts.pop("searches"))
    reading = Reading(searches=searches, **facts)
    index_mb = size_mb(folder / FOLDER)
    return Grown(size, round(build_s, 1), choose_s, round(size_mb(folder) - index_mb, 1), index_mb, reading)


def choose(folder: Path, policy: IndexPolicy) -> float:
    """The seconds of choosing the index of the catalog at `folder`; 0 where it is searched exactly."""
    catalog = open_catalog(folder)
    if policy.is_exact(catalog.vectors):
        return 0.0
    note(HEAD)
    began = time.monotonic()
    choose_index(catalog, policy, done=lambda tried: note(row_of(tried)))
    return round(time.monotonic() - began, 1)


def size_mb(folder: Path) -> float:
    """MB of the files below `folder`."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB, 1)


def table(grown: Sequence[Grown]) -> Iterator[str]:
    """The figures of each size, and those of its searches."""
    yield f"{'size':<16}" + "".join(f"{name:>13}" for name in FIGURES) + "  index"
    for each in grown:
        yield f"{each.size!s:<16}" + "".join(f"{figure(each, name):13}" for name in FIGURES) + f"  {each.reading.index}"
    yield ""
    names = ("recall", "p50_ms", "p99_ms", "batch_p50_ms", "batch_p99_ms")
    yield f"{'size':<16}{'filter':<8}{'plan':<10}" + "".join(f"{name:>14}" for name in names)
    for each in grown:
        for search in each.reading.searches:
            values = "".join(f"{getattr(search, name):14}" for name in names)
            yield f"{each.size!s:<16}{search.name:<8}{search.plan:<10}{values}"


def figure(grown: Grown, name: str) -> float:
    """One of `FIGURES`."""
    value: float = getattr(grown if hasattr(grown, name) else grown.reading, name)
    return value


def growth(grown: Sequence[Grown]) -> Iterator[str]:
    """The factors from each size to the next larger one of the same dimension."""
    for before, after in pairwise(grown):
        if before.size.dimension != after.size.dimension:
            continue
        first, second = before.reading.searches[0], after.reading.searches[0]
        factors = {name: ratio(figure(before, name), figure(after, name)) for name in FIGURES}
        factors |= {"p50_ms": ratio(first.p50_ms, second.p50_ms), "p99_ms": ratio(first.p99_ms, second.p99_ms)}
        times = ratio(before.size.products, after.size.products)
        yield f"{before.size} -> {after.size} ({times}): " + ", ".join(f"{name} {by}" for name, by in factors.items())


def ratio(before: float, after: float) -> str:
    """The factor from one figure to another."""
    return f"x{after / before:.3g}" if before else "-"


@dataclass(frozen=True, slots=True)
class Bound:
    """One promise, and whether it was kept."""

    text: str
    kept: bool

    def __str__(self) -> str:
        return f"bound {self.text}: {'pass' if self.kept else 'MISSED'}"


def bounds(grown: Sequence[Grown]) -> Iterator[Bound]:
    """The promises about `grown`."""
    for each in grown:
        for search in each.reading.searches:
            text = f"{each.size}, filter {search.name}: recall@10 {search.recall} of at least {LEAST_RECALL}"
            yield Bound(text, search.recall >= LEAST_RECALL)
        if each.size.products >= MILLION:
            started = each.reading.start_s
            yield Bound(f"{each.size}: start {started} s of at most {START_S:g}", started < START_S)


def note(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def count_of(text: str) -> int:
    """A number such as 250, 10k or 1m. Raises `ValueError`."""
    text = text.strip().lower()
    unit = UNITS.get(text[-1:], 1)
    return int(text[:-1] if unit > 1 else text) * unit


def sizes(options: argparse.Namespace) -> list[Size]:
    """The sizes of the command line."""
    found = [Size(count_of(text), options.dimension) for text in options.sizes.split(",") if text.strip()]
    if options.wide:
        products, dimension = options.wide.replace(" ", "").lower().split("x")
        found.append(Size(count_of(products), int(dimension)))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and judges."""
    parser = argparse.ArgumentParser(prog="load_tests.catalog_scale", description=__doc__)
    parser.add_argument("--sizes", default="10k,100k,1m", help="numbers of products, such as 10k,1m")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--wide", default="100k x 1280", help="one more size, PRODUCTS x DIMENSION; empty for none")
    parser.add_argument("--exact-mib", type=int, default=IndexPolicy().exact_bytes // MIB, help="as index.exact_mib")
    parser.add_argument("--build-limit-s", type=float, default=IndexPolicy().build_limit_s)
    parser.add_argument("--queries", type=int, default=256, help="searches of each kind, at most 256")
    options = parser.parse_args(arguments)
    grown = []
    for size in sizes(options):
        with tempfile.TemporaryDirectory(prefix="sightline-scale-") as work:
            given = (options.exact_mib, options.queries, options.build_limit_s)
            grown.append(grow(size, Path(work) / "shop", *given))
    judged = list(bounds(grown))
    for line in (*table(grown), "", *growth(grown), *map(str, judged)):
        note(line)
    print(json.dumps({"sizes": [asdict(each) for each in grown], "kept": all(each.kept for each in judged)}))
    return 0 if all(each.kept for each in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
