"""A catalog of random products, for runs in which a search must take as long as that of a larger shop.

Rule: vectors of the embedder that is served, so that a server takes it; nothing in it looks like anything.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from load_tests.direct.path import DirectModel
from load_tests.generator.photos import ROOT
from sightline_server.domain.items import Product
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.triton.specs import read_embedder

CHUNK = 4096


def write(out: Path, repository: Path, products: int) -> None:
    """Builds the catalog `out` of `products` products with one image each, for the embedder of `repository`."""
    model = DirectModel(repository / "embedder", threads=1)
    spec = read_embedder("embedder", model.metadata, model.config, model.sha256)
    source = np.random.default_rng(0)
    with CatalogWriter(out, spec, replace=False) as writer:
        for first in range(0, products, CHUNK):
            count = min(CHUNK, products - first)
            vectors = source.standard_normal((count, spec.dimension), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            names = (f"product-{first + place:07d}" for place in range(count))
            writer.add(
                [
                    CatalogRow(Product(name, title=f"Product {name[8:]}"), None, (f"{name}.jpg",), vector[None])
                    for name, vector in zip(names, vectors, strict=True)
                ]
            )
        writer.publish(datetime.now(UTC))


def main() -> int:
    """Builds the catalog of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder that will be the catalog; must not exist")
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="the models")
    arguments = parser.parse_args()
    write(arguments.out, arguments.repository, arguments.products)
    print(f"{arguments.products} products in {arguments.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
