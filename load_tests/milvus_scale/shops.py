"""The served catalogs: one in a folder, the same one in Milvus, and a smaller one that is written in Milvus.

    drawn clusters -> folder (FAISS) -> copied to Milvus;  fewer of them -> Milvus, written by the server
Rule: vectors have the embedder of the repository with 256 numbers (`two_catalogs`), so that photos can be searched.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from load_tests.attacks.frame import PATIENT_SERVER
from load_tests.catalog_scale.shop import Size, number_of, write_shop
from load_tests.direct.path import DirectModel
from load_tests.generator.photos import ROOT
from load_tests.two_catalogs.shops import DIMENSION, two_embedders
from load_tests.two_catalogs.shops import FOLDER as EMBEDDER
from sightline_client.local_server import LocalServer
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.adopting import adopt
from sightline_server.index.catalog import open_catalog
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.pushing import push
from sightline_server.triton.specs import read_embedder
from tests.support.milvus_server import MilvusServer

FOLDER, REMOTE, WRITTEN = "folder", "milvus", "written"
PUSH_CALL_S, START_S = 60.0, 300.0


@dataclass(frozen=True, slots=True)
class Shops:
    """The server's addresses, and the catalogs by the names that requests give."""

    target: str
    catalog_target: str
    pid: int
    embedder: str
    folder: Path
    """The catalog that is in Milvus as well."""
    written: NDArray[np.float32] = field(repr=False)
    """The vectors float32 [P,D] of the written catalog, by the number in a product's id."""
    push_s: float
    recall: float
    """The recall@10 that the push found."""


@contextmanager
def served(work: Path, milvus: MilvusServer, products: int, written: int) -> Iterator[Shops]:
    """Builds and pushes the catalogs and serves them for the length of the block."""
    repository = two_embedders(work / "models", ROOT / "model_repository")
    spec = embedder_of(repository)
    folder, changing = work / FOLDER, work / WRITTEN
    write_shop(folder, Size(products, DIMENSION), spec)
    write_shop(changing, Size(written, DIMENSION), spec)
    vectors = vectors_of(changing)
    began = time.monotonic()
    recall = copied(milvus.uri, folder, REMOTE)
    push_s = time.monotonic() - began
    adopt(changing, actor="load test")
    copied(milvus.uri, changing, WRITTEN, writable=True)
    config = work / "sightline.toml"
    config.write_text(settings(milvus.uri, folder, changing))
    socket = f"unix:{work / 'catalog.socket'}"
    arguments = ["--config", str(config), "--repository", str(repository), "--catalog-listen", socket]
    log = work / "server.log"
    with LocalServer(extra_args=arguments, env=PATIENT_SERVER, log=log, start_timeout_s=START_S) as server:
        yield Shops(server.target, socket, server.pid, spec.identity, folder, vectors, push_s, recall)


def embedder_of(repository: Path) -> EmbedderSpec:
    """The specification of the embedder of 256 numbers."""
    model = DirectModel(repository / EMBEDDER, threads=1)
    return read_embedder(EMBEDDER, model.metadata, model.config, model.sha256)


def copied(uri: str, folder: Path, name: str, *, writable: bool = False) -> float:
    """Copies the catalog at `folder` to Milvus as `name`; returns the recall@10 that the push found."""
    client = Milvus(uri, call_s=PUSH_CALL_S)
    try:
        return push(open_catalog(folder), name, client, writable=writable).recall
    finally:
        client.close()


def vectors_of(folder: Path) -> NDArray[np.float32]:
    """The vectors float32 [P,D] of a catalog with one image a product, by the number in the product's id."""
    catalog = open_catalog(folder)
    numbers = np.array([number_of(name) for name in catalog.display["id"].to_pylist()])[catalog.owners]
    vectors: NDArray[np.float32] = catalog.vectors.astype(np.float32)[np.argsort(numbers)]
    return vectors


def settings(uri: str, folder: Path, changing: Path) -> str:
    """The text of the server's configuration file."""
    remote = f'backend = "milvus"\nuri = "{uri}"\n'
    return (
        f"[catalogs.{FOLDER}]\npath = {json.dumps(str(folder))}\n"
        f"[catalogs.{REMOTE}]\n{remote}"
        f"[catalogs.{WRITTEN}]\n{remote}path = {json.dumps(str(changing))}\n"
    )
