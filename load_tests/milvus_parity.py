"""Does a catalog in Milvus give the products that the same catalog gives from its folder, and what does it cost?

    python -m load_tests.milvus_parity [--catalog DIR] [--repeats 3]
One server has the showroom twice: from its folder, searched with FAISS, and in a Milvus 2.3.5 that is started here.
Each photo is searched in both in turn: plainly, by item groups and with filters. Rule: the same objects; the same
products in the same order wherever similarities differ by more than 1e-5; similarities within 2e-3. Prints one JSON
object; exit code 1 when something differs.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from load_tests.attacks.__main__ import demo_catalog
from load_tests.generator.photos import SHOWROOM, Photos, read_photos
from sightline_client import Client, Filter, PriceRange
from sightline_client.local_server import LocalServer
from sightline_server.index.catalog import open_catalog
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.pushing import push
from tests.support.milvus_server import MilvusServer

FOLDER, REMOTE = "folder", "milvus"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "groups": {"one_per_group": True},
    "filter": {"filter": Filter(prices=[PriceRange("USD", maximum=60)], availabilities=["in_stock"])},
}
SAME, TOLERANCE = 1e-5, 2e-3
PRODUCTS = 20
Answer = list[tuple[str, list[tuple[str, float]]]]
"""Each object's id, and its products with their similarities in order."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares the two; returns 0 when nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, help="default: the demo's")
    parser.add_argument("--repeats", type=int, default=3, help="searches of each photo, of which times are taken")
    options = parser.parse_args(arguments)
    catalog = (options.catalog or demo_catalog()).absolute()
    with tempfile.TemporaryDirectory() as folder:
        milvus = MilvusServer(Path(folder))
        try:
            milvus.wait_ready()
            found = measure(milvus, catalog, Path(folder), read_photos(SHOWROOM), options.repeats)
        finally:
            milvus.stop()
    print(json.dumps(found), flush=True)
    return 1 if found["differences"] else 0


def measure(milvus: MilvusServer, catalog: Path, folder: Path, photos: Photos, repeats: int) -> dict[str, Any]:
    """Pushes the catalog, serves it twice and compares the answers."""
    client = Milvus(milvus.uri, call_s=60.0)
    began = time.monotonic()
    pushed = push(open_catalog(catalog), REMOTE, client)
    push_s = time.monotonic() - began
    client.close()
    config = folder / "sightline.toml"
    config.write_text(
        f'[catalogs.{FOLDER}]\npath = "{catalog}"\n'
        f'[catalogs.{REMOTE}]\nbackend = "milvus"\nuri = "{milvus.uri}"\n[batching]\n'
    )
    differences: list[str] = []
    largest, objects, times = 0.0, 0, {name: list[float]() for name in (FOLDER, REMOTE)}
    with (
        LocalServer(extra_args=["--config", str(config)]) as server,
        Client(server.target) as asking,
    ):
        for place, photo in enumerate(photos.encoded):
            for way, fields in WAYS.items():
                for _ in range(repeats):
                    answers = {}
                    for name, taken in times.items():
                        began = time.monotonic()
                        answers[name] = answer_of(asking, photo, name, fields)
                        taken.append(time.monotonic() - began)
                differs, apart = compare(answers[FOLDER], answers[REMOTE])
                differences += [f"photo {place}, {way}: {each}" for each in differs]
                largest, objects = max(largest, apart), objects + len(answers[FOLDER])
    return {
        "photos": len(photos.encoded),
        "objects": objects,
        "images": pushed.images,
        "push_s": round(push_s, 1),
        "differences": differences,
        "largest_difference": largest,
        **{
            f"{name}_p{rank}_ms": round(1000 * float(np.percentile(taken, rank)), 1)
            for name, taken in times.items()
            for rank in (50, 99)
        },
    }


def answer_of(client: Client, photo: bytes, catalog: str, fields: Mapping[str, Any]) -> Answer:
    """The answer to one photo."""
    answer = client.find(photo, catalog=catalog, max_products=PRODUCTS, **fields)
    return [
        (found.object.object_id, [(ranked.product.id, ranked.similarity) for ranked in found.products])
        for found in answer.objects
    ]


def compare(one: Answer, other: Answer) -> tuple[list[str], float]:
    """The differences between two answers, ties aside, and the largest one between two similarities."""
    if [name for name, _ in one] != [name for name, _ in other]:
        return ["other objects"], 0.0
    differences, largest = [], 0.0
    for (name, expected), (_, products) in zip(one, other, strict=True):
        if len(expected) != len(products):
            differences.append(f"{name} has {len(products)} products instead of {len(expected)}")
            continue
        apart = 0.0
        for (wanted, similarity), (product, found) in zip(expected, products, strict=True):
            apart = max(apart, abs(similarity - found))
            if product != wanted and abs(similarity - found) > SAME:
                differences.append(f"{name} has {product} instead of {wanted}")
        largest = max(largest, apart)
        if apart > TOLERANCE:
            differences.append(f"{name}: similarities differ by {apart:.4f}")
    return differences, largest


if __name__ == "__main__":
    raise SystemExit(main())
