"""Writes down what a peer must know of models and catalog, so that it needs neither Lance nor Triton's configuration.

Rule: runs in Sightline's own environment, once before a benchmark; peers only read the folder.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from load_tests.direct.path import DirectModel
from load_tests.peers.pipeline import FACTS, OWNERS, VECTORS, Facts
from sightline_server.index.catalog import open_catalog
from sightline_server.index.faiss_index import unit_parts
from sightline_server.index.products import ProductTable
from sightline_server.triton.specs import read_detector, read_embedder


def pack(repository: Path, catalog: Path, world: Path) -> None:
    """Fills the folder `world` from the models in `repository` and the catalog at `catalog`."""
    detector, embedder = (DirectModel(repository / name, 1) for name in ("detector", "embedder"))
    seen = read_detector("detector", detector.metadata, detector.config, detector.sha256)
    spec = read_embedder("embedder", embedder.metadata, embedder.config, embedder.sha256)
    opened = open_catalog(catalog, spec)
    table = ProductTable(opened.display)
    facts = Facts(
        detector_file=str((repository / "detector/1/model.onnx").resolve()),
        embedder_file=str((repository / "embedder/1/model.onnx").resolve()),
        detector=seen,
        embedder=spec,
        products=table.take(range(len(table))),
        links=opened.image_links.to_pylist(),
        max_images=opened.facts.max_images,
    )
    described = asdict(facts)
    described["detector"] |= {"preprocess": seen.preprocess.facts()}
    described["embedder"] |= {"preprocess": spec.preprocess.facts()}
    # The peers run the default models, whose words are the default.
    del described["detector"]["vocabulary"]
    (world / FACTS).write_text(json.dumps(described))
    np.save(world / VECTORS, np.concatenate(list(unit_parts(opened.vectors))))
    np.save(world / OWNERS, opened.owners)
