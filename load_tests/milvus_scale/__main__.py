"""100,000 products in Milvus next to the same in a folder: latency, filters, recall, and a Milvus that is killed.

    python -m load_tests.milvus_scale [--products 100000] [--queries 100] [--repeats 1] [--rate 2]

One server has a catalog of clusters of 256 numbers twice: in a folder, searched with FAISS, and in a Milvus 2.3.5 that
is started here. Embeddings and photos are searched in both in turn, without a filter and with filters that let 50 %,
5 % and 0.1 % through. Then Milvus is killed (SIGKILL) under photos to both catalogs in turn and deletions in a third
one, started again 10 s later, and the run waits until its catalog is back. Prints tables, one line a bound and one JSON
object on the last line; exit code 1 when a bound is broken, 2 where Milvus cannot run. About 5 minutes.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.milvus_scale.judging import bounds, of_kill, table
from load_tests.milvus_scale.killing import strike
from load_tests.milvus_scale.searching import by_embedding, by_photo, drawn
from load_tests.milvus_scale.shops import FOLDER, REMOTE, Shops, served
from load_tests.observe.machine import quiet, read_cpu
from sightline_client import Client
from tests.support.milvus_server import MilvusServer, why_not

WRITTEN_PRODUCTS = 2000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and judges."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.milvus_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--products", type=int, default=100_000, help="products of the catalog that is searched")
    parser.add_argument("--written", type=int, default=WRITTEN_PRODUCTS, help="products of the one that is written")
    parser.add_argument("--queries", type=int, default=100, help="embeddings to search under each filter")
    parser.add_argument("--repeats", type=int, default=1, help="searches of each photo under each filter")
    parser.add_argument("--rate", type=float, default=2.0, help="photos a second while Milvus is killed")
    options = parser.parse_args(arguments)
    if reason := why_not():
        say(f"Milvus cannot run here: {reason}")
        return 2
    with tempfile.TemporaryDirectory(prefix="sightline-milvus-scale-") as folder:
        milvus = MilvusServer(Path(folder))
        try:
            milvus.wait_ready()
            found = measure(Path(folder), milvus, options)
        finally:
            milvus.stop()
    print(json.dumps(found), flush=True)
    return 0 if found["kept"] else 1


def measure(work: Path, milvus: MilvusServer, options: argparse.Namespace) -> dict[str, Any]:
    """Both parts of the run."""
    say(f"building and pushing {options.products} products")
    with served(work, milvus, options.products, options.written) as shops:
        say(f"pushed in {shops.push_s:.0f} s, recall@10 {shops.recall:.3f}; searching")
        return measured(shops, milvus, options)


def measured(shops: Shops, milvus: MilvusServer, options: argparse.Namespace) -> dict[str, Any]:
    """Searches and kills; `kept` says whether all bounds hold."""
    photos = read_photos(SHOWROOM)
    queries = drawn(shops.folder, options.queries)
    pids = (shops.pid, milvus.pid, os.getpid())
    with Client(shops.target) as client:
        warm_up(client, photos.encoded[:4])
        before = read_cpu(*pids)
        searches = [
            *by_embedding(client, shops.embedder, queries),
            *by_photo(client, photos.encoded, queries.products, options.repeats),
        ]
        machine = quiet(before, read_cpu(*pids))
    for line in table(searches):
        say(line)
    say("killing Milvus under photos and deletions")
    struck = asyncio.run(strike(shops, milvus, photos.encoded, options.rate))
    kill = of_kill(struck)
    for name, value in kill.items():
        say(f"{name}: {value}")
    for text in [*dict.fromkeys(struck.deletions.errors)][:5]:
        say(f"error {text}")
    held = bounds(searches, struck)
    for bound in held:
        say(f"{'pass ' if bound.kept else 'FAIL '} bound {bound}")
    return {
        "products": options.products,
        "push_s": round(shops.push_s, 1),
        "photos_sha256": photos.digest,
        "searches": [each.row() for each in searches],
        "kill": kill,
        "machine": machine,
        "kept": all(bound.kept for bound in held),
    }


def warm_up(client: Client, photos: Sequence[bytes]) -> None:
    """Searches some photos in both catalogs, which are not counted."""
    for photo in photos:
        for catalog in (FOLDER, REMOTE):
            client.find(photo, catalog=catalog, timeout_s=60.0)


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
