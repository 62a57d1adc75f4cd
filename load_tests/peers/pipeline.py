"""The steps of a search for a peer: decode, letterbox, detector, NMS, crops, embedder, FAISS, rank. No server.

Sightline's own pure stages around ONNX Runtime and FAISS, so that answers are equal and only the frameworks differ.
Rule: it runs in the peers' environments, so it imports stages, domain, settings and ONNX Runtime's loader, and nothing
that serves.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from sightline_models.onnx_runtime import onnxruntime
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.items import Neighbour, PhotoObject, Product
from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.domain.preprocess import DETECTOR_PREPROCESS, EMBEDDER_PREPROCESS, parse_preprocess
from sightline_server.domain.request import SearchQuery
from sightline_server.index.neighbours import Hit, distinct_products, enough_vectors
from sightline_server.settings import Settings
from sightline_server.stages.choose import choose
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import RawDetections, detector_input, split_answer, to_scene
from sightline_server.stages.embed import check_embeddings
from sightline_server.stages.rank import rank

Pixels = NDArray[np.uint8]
Answer = dict[str, Any]
"""JSON: `objects`, each with its id, label, score, box and ranked products."""

FACTS, VECTORS, OWNERS = "facts.json", "vectors.npy", "owners.npy"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of models and catalog that `pack.py` wrote."""

    detector_file: str
    embedder_file: str
    detector: DetectorSpec
    embedder: EmbedderSpec
    products: list[Product]
    links: list[str]
    max_images: int


def read_facts(world: Path) -> Facts:
    """The facts in the folder `world`."""
    raw = json.loads((world / FACTS).read_text())
    raw["detector"]["labels"] = tuple(raw["detector"]["labels"])
    for name, default in (("detector", DETECTOR_PREPROCESS), ("embedder", EMBEDDER_PREPROCESS)):
        model = raw[name]
        model["preprocess"] = parse_preprocess(name, model["preprocess"], model["width"], model["height"], default)
    return Facts(
        detector_file=raw["detector_file"],
        embedder_file=raw["embedder_file"],
        detector=DetectorSpec(**raw["detector"]),
        embedder=EmbedderSpec(**raw["embedder"]),
        products=[Product(**product) for product in raw["products"]],
        links=raw["links"],
        max_images=raw["max_images"],
    )


class Model:
    """One ONNX file in this process; a call uses `threads` threads."""

    def __init__(self, path: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Two models share the cores: a thread that spins between calls takes them from the other one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, batch: Pixels) -> dict[str, NDArray[Any]]:
        """The outputs by name for uint8 [B,H,W,3]."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {self._input: batch}), strict=True))


class Detector:
    """The detector of `world`."""

    def __init__(self, world: Path, threads: int) -> None:
        facts = read_facts(world)
        self._spec = facts.detector
        self._model = Model(facts.detector_file, threads)

    def run(self, batch: Pixels) -> list[RawDetections]:
        """One answer for each of the letterboxed images uint8 [B,h,w,3]."""
        return split_answer(self._model.run(batch), len(batch), self._spec)


class Embedder:
    """The embedder of `world`."""

    def __init__(self, world: Path, threads: int) -> None:
        facts = read_facts(world)
        self._spec = facts.embedder
        self._model = Model(facts.embedder_file, threads)

    def run(self, crops: Pixels) -> NDArray[np.float32]:
        """The embeddings [B,D] of crops uint8 [B,h,w,3]."""
        return check_embeddings(self._model.run(crops), len(crops), self._spec)


class Shelf:
    """The catalog's vectors in FAISS, exact inner product."""

    def __init__(self, world: Path, facts: Facts) -> None:
        vectors = np.load(world / VECTORS)
        self._owners: NDArray[np.int32] = np.load(world / OWNERS)
        self.products = facts.products
        self._max_images = facts.max_images
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        ranks = {product: place for place, product in enumerate(sorted(item.id for item in facts.products))}
        self._id_ranks = np.array([ranks[item.id] for item in facts.products])

    def nearest(self, embeddings: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """The `k` nearest products of each embedding, by their closest images."""
        total = int(self._index.ntotal)
        count = min(enough_vectors(k, self._max_images), total)
        similarities, rows = self._index.search(np.ascontiguousarray(embeddings), count)
        found = [self._distinct(*hits, k, total) for hits in zip(similarities, rows, strict=True)]
        if any(hits is None for hits in found):
            similarities, rows = self._index.search(np.ascontiguousarray(embeddings), total)
            found = [self._distinct(*hits, k, total) for hits in zip(similarities, rows, strict=True)]
        return [[self._neighbour(hit) for hit in hits or ()] for hits in found]

    def _neighbour(self, hit: Hit) -> Neighbour:
        product = self.products[hit.product]
        # No photo of the comparison asks for item groups.
        facts = (product.id, product.category, product.availability, hit.product)
        return Neighbour(hit.product, hit.vector, hit.similarity, *facts)

    def _distinct(
        self, similarities: NDArray[np.float32], rows: NDArray[np.int64], k: int, total: int
    ) -> list[Hit] | None:
        owners = self._owners[rows].tolist()
        clipped = np.clip(similarities, -1.0, 1.0).tolist()
        hits = [
            Hit(similarity, owner, row) for similarity, owner, row in zip(clipped, owners, rows.tolist(), strict=True)
        ]
        return distinct_products(hits, k, self._id_ranks.__getitem__, exhausted=len(hits) == total)


@dataclass(frozen=True, slots=True)
class Opened:
    """A photo before the detector."""

    frame: Frame
    seen: ModelInput


@dataclass(frozen=True, slots=True)
class Looked:
    """A photo between detector and embedder; `crops` is uint8 [objects,h,w,3]."""

    objects: tuple[PhotoObject, ...]
    crops: Pixels


class Steps:
    """Every step but the two models."""

    def __init__(self, world: Path) -> None:
        facts = read_facts(world)
        self._detector, self._embedder = facts.detector, facts.embedder
        self._shelf = Shelf(world, facts)
        self._settings = Settings()
        limits = self._settings.limits
        self._limits = DecodeLimits(
            limits.max_photo_bytes, limits.max_photo_pixels, self._settings.decode.max_frame_edge
        )
        self._products = limits.default_products
        self._k = limits.default_products + self._settings.ranking.extra_candidates

    def open(self, photo: bytes) -> Opened:
        """Decodes and letterboxes a photo. Raises `SightlineError` for bytes that are not a photo."""
        frame = decode(photo, self._limits)
        return Opened(frame, detector_input(frame, self._detector))

    def look(self, opened: Opened, raw: RawDetections) -> Looked:
        """NMS, choice of objects, crops."""
        scene = to_scene(raw, opened.seen.placement, self._detector, self._settings.detection)
        objects = choose(self._query(), opened.frame, scene, self._settings.detection).objects
        return Looked(objects, np.stack([crop(opened.frame, item.box, self._embedder).pixels for item in objects]))

    def answer(self, objects: Sequence[PhotoObject], embeddings: NDArray[np.float32]) -> Answer:
        """Search and rank."""
        found = self._shelf.nearest(embeddings, self._k)
        return {"objects": [self._object(*each) for each in zip(objects, found, strict=True)]}

    def _object(self, item: PhotoObject, neighbours: list[Neighbour]) -> Answer:
        settings = self._settings.ranking
        ranked = rank(neighbours, item.label, limit=self._products, min_similarity=0.0, settings=settings)
        box = item.box
        return {
            "object_id": item.object_id,
            "label": item.label,
            "score": item.score,
            "box": [box.x_min, box.y_min, box.x_max, box.y_max],
            "products": [
                {
                    "id": one.neighbour.product_id,
                    "title": self._shelf.products[one.neighbour.row].title,
                    "similarity": one.neighbour.similarity,
                    "score": one.score,
                }
                for one in ranked
            ],
        }

    def _query(self) -> SearchQuery:
        limits = self._settings.limits
        return SearchQuery(
            request_id="peer",
            photo=b"",
            deadline=float("inf"),
            max_objects=limits.default_objects,
            max_products=limits.default_products,
            min_similarity=0.0,
        )


class Search:
    """All steps in one process: what a worker of the layout `whole` holds."""

    def __init__(self, world: Path, threads: int) -> None:
        self._steps = Steps(world)
        self._detector, self._embedder = Detector(world, threads), Embedder(world, threads)

    def run(self, photos: Sequence[bytes]) -> list[Answer]:
        """One answer a photo; each model is called once for all of them."""
        opened = [self._steps.open(photo) for photo in photos]
        raws = self._detector.run(np.stack([each.seen.pixels for each in opened]))
        looked = [self._steps.look(*each) for each in zip(opened, raws, strict=True)]
        embeddings = self._embedder.run(np.concatenate([each.crops for each in looked]))
        ends = np.cumsum([len(each.objects) for each in looked])
        parts = np.split(embeddings, ends[:-1])
        return [self._steps.answer(each.objects, part) for each, part in zip(looked, parts, strict=True)]
