"""The way of a photo with no server at all: the server's own stages around ONNX Runtime, called directly.

Rule: the same work as a served photo up to its neighbours, in one plain thread; nothing waits, nothing is sent. What
it needs to know of the models is read as the server reads it, from ONNX files and `config.pbtxt`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format, text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from sightline_models.onnx_runtime import onnxruntime
from sightline_server.domain.items import Neighbour
from sightline_server.domain.request import SearchQuery
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import build_snapshot
from sightline_server.settings import Settings
from sightline_server.stages.choose import choose
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import detector_input, split_answer, to_scene
from sightline_server.stages.embed import check_embeddings
from sightline_server.triton.specs import read_detector, read_embedder

TYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32", "tensor(int32)": "INT32"}


class InPlace(Executor):
    """Runs what it is given at once, in the thread that gives it."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs `work` and returns its outcome."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class DirectModel:
    """One ONNX model of the repository in this process, with `threads` threads for a call."""

    def __init__(self, folder: Path, threads: int) -> None:
        path = folder / "1" / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.metadata: dict[str, Any] = {
            "versions": ["1"],
            "inputs": [tensor(node) for node in self._session.get_inputs()],
            "outputs": [tensor(node) for node in self._session.get_outputs()],
        }
        parsed = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        self.config: dict[str, Any] = json_format.MessageToDict(parsed, preserving_proto_field_name=True)

    def run(self, images: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
        """The outputs by name for images uint8 [H,W,3]."""
        answers = self._session.run(self._outputs, {self._input: np.stack(images)})
        return dict(zip(self._outputs, answers, strict=True))


def tensor(node: Any) -> dict[str, Any]:
    """An ONNX input or output as Triton's metadata says it."""
    shape = [size if isinstance(size, int) and size > 0 else -1 for size in node.shape]
    return {"name": node.name, "datatype": TYPES[node.type], "shape": shape}


class DirectPath:
    """Everything from bytes to neighbours, in this thread."""

    def __init__(self, repository: Path, catalog: Path, *, threads: int) -> None:
        self._detector = DirectModel(repository / "detector", threads)
        self._embedder = DirectModel(repository / "embedder", threads)
        self._seen = read_detector("detector", self._detector.metadata, self._detector.config, self._detector.sha256)
        self._spec = read_embedder("embedder", self._embedder.metadata, self._embedder.config, self._embedder.sha256)
        self._settings = Settings()
        limits = self._settings.limits
        self._limits = DecodeLimits(
            limits.max_photo_bytes, limits.max_photo_pixels, self._settings.decode.max_frame_edge
        )
        self._k = limits.default_products + self._settings.ranking.extra_candidates
        self._loop = asyncio.new_event_loop()
        self._snapshot = build_snapshot(catalog, "limit", self._spec, DeviceThread(InPlace()))

    def close(self) -> None:
        """Frees the snapshot."""
        self._loop.run_until_complete(self._snapshot.close())
        self._loop.close()

    def run(self, photos: Sequence[bytes]) -> list[list[list[Neighbour]]]:
        """Per photo, per object, its neighbours."""
        frames = [decode(photo, self._limits) for photo in photos]
        boxed = [detector_input(frame, self._seen) for frame in frames]
        raws = split_answer(self._detector.run([part.pixels for part in boxed]), len(photos), self._seen)
        counts: list[int] = []
        crops: list[NDArray[np.uint8]] = []
        for photo, frame, part, raw in zip(photos, frames, boxed, raws, strict=True):
            scene = to_scene(raw, part.placement, self._seen, self._settings.detection)
            objects = choose(self._query(photo), frame, scene, self._settings.detection).objects
            counts.append(len(objects))
            crops.extend(crop(frame, item.box, self._spec).pixels for item in objects)
        embeddings = check_embeddings(self._embedder.run(crops), len(crops), self._spec)
        found_all = iter(self._loop.run_until_complete(self._snapshot.nearest(embeddings, self._k)))
        return [[next(found_all) for _ in range(count)] for count in counts]

    def _query(self, photo: bytes) -> SearchQuery:
        limits = self._settings.limits
        return SearchQuery(
            request_id="limit",
            photo=photo,
            deadline=float("inf"),
            max_objects=limits.default_objects,
            max_products=limits.default_products,
            min_similarity=0.0,
        )
