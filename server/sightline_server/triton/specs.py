"""The specifications of the engine's models, read from Triton's live metadata and configuration, against the models'
contract.

    detector  IMAGES UINT8 [B,H,W,3] -> BOXES FP32 [B,N,4], SCORES FP32 [B,N], LABELS INT32 [B,N]
    embedder  CROPS  UINT8 [B,h,w,3] -> EMBEDDINGS FP32 [B,D]
    text encoder  TOKENS INT64 [B,L] -> EMBEDDINGS FP32 [B,D]

Rule: a model that lacks a tensor of the contract is refused with a message that names the tensor and both shapes.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypedDict

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.embedders import embedder_role
from sightline_server.domain.models import (
    DETECTOR,
    EMBEDDER,
    BatchCost,
    DetectorSpec,
    EmbedderSpec,
    Role,
    SpecT,
    TextEncoderSpec,
)
from sightline_server.domain.preprocess import (
    DETECTOR_PREPROCESS,
    EMBEDDER_PREPROCESS,
    Preprocess,
    parse_preprocess,
)
from sightline_server.domain.search_defaults import parse_search_defaults
from sightline_server.domain.vocabulary import parse_vocabulary
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.faults import Cause, EngineError

Shape = tuple[int | str, ...]
"""Sizes; a letter stands for a size that the model chooses, "B" for the batch."""

DTYPES: Mapping[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
}
"""The types of tensors that a contract may have."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the contract."""

    name: str
    datatype: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Contract:
    """The tensors of a model's inputs and outputs; the first size of each is B."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """The shape of one item of each input, with the model's own `sizes`."""
        return {
            tensor.name: tuple(size if isinstance(size, int) else sizes[size] for size in tensor.shape[1:])
            for tensor in self.inputs
        }

    def check_answer(self, answer: Mapping[str, NDArray[Any] | None]) -> None:
        """Raises INTERNAL for an output of the wrong type or rank; the caller checks sizes and values.

        An output that is missing raises `EngineError`: the model has it, so the engine broke down.
        """
        for tensor in self.outputs:
            found = answer[tensor.name]
            if found is None:
                raise EngineError(Cause.CUT_SHORT, f"an answer without {tensor.name}")
            if found.dtype != DTYPES[tensor.datatype] or found.ndim != len(tensor.shape):
                what = f"{found.dtype} of rank {found.ndim}"
                raise SightlineError(ErrorKind.INTERNAL, f"the model returned {what}; expected {tensor}")


DETECTOR_CONTRACT = Contract(
    (Tensor("IMAGES", "UINT8", ("B", "H", "W", 3)),),
    (
        Tensor("BOXES", "FP32", ("B", "N", 4)),
        Tensor("SCORES", "FP32", ("B", "N")),
        Tensor("LABELS", "INT32", ("B", "N")),
    ),
)
EMBEDDER_CONTRACT = Contract(
    (Tensor("CROPS", "UINT8", ("B", "H", "W", 3)),),
    (Tensor("EMBEDDINGS", "FP32", ("B", "D")),),
)
TEXT_CONTRACT = Contract(
    (Tensor("TOKENS", "INT64", ("B", "L")),),
    (Tensor("EMBEDDINGS", "FP32", ("B", "D")),),
)


class ServedFacts(TypedDict):
    """The facts that every specification has, whatever the model does."""

    name: str
    version: str
    sha256: str
    max_batch_size: int
    instances: int


def read_detector(name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str) -> DetectorSpec:
    """The detector's spec. Raises CONFIGURATION when it does not keep the contract."""
    sizes = check(name, DETECTOR_CONTRACT, metadata)
    return DetectorSpec(
        **served_facts(name, metadata, config, sha256),
        height=sizes["H"],
        width=sizes["W"],
        max_detections=sizes["N"],
        labels=(words := labels(name, config)),
        vocabulary=parse_vocabulary(name, parameter(name, config, "vocabulary", {}), words),
        preprocess=preprocess(name, config, sizes, DETECTOR_PREPROCESS),
    )


def read_embedder(name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str) -> EmbedderSpec:
    """The embedder's spec. Raises CONFIGURATION when it does not keep the contract."""
    sizes = check(name, EMBEDDER_CONTRACT, metadata)
    return EmbedderSpec(
        **served_facts(name, metadata, config, sha256),
        height=sizes["H"],
        width=sizes["W"],
        dimension=sizes["D"],
        preprocess=preprocess(name, config, sizes, EMBEDDER_PREPROCESS),
        batch_cost=batch_cost(config),
        search=parse_search_defaults(name, parameter(name, config, "search", {})),
    )


def read_text_encoder(
    name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str
) -> TextEncoderSpec:
    """The text encoder's spec. Raises CONFIGURATION when it does not keep the contract."""
    sizes = check(name, TEXT_CONTRACT, metadata)
    embedder, tokenizer = parameter(name, config, "embedder", {}), parameter(name, config, "tokenizer_sha256", "")
    stated = [embedder.get(key, "") for key in ("name", "sha256")]
    if not all(isinstance(each, str) for each in stated) or not stated[0] or not tokenizer:
        expected = '`embedder`, {"name": ..., "sha256": ...}, and `tokenizer_sha256` are needed in config.pbtxt'
        raise SightlineError(ErrorKind.CONFIGURATION, f"model {name}: {expected}; docs/guide/text.md")
    return TextEncoderSpec(
        **served_facts(name, metadata, config, sha256),
        length=sizes["L"],
        dimension=sizes["D"],
        embedder_name=stated[0],
        embedder_sha256=stated[1],
        tokenizer_sha256=tokenizer,
    )


@dataclass(frozen=True, slots=True)
class ServedModel(Generic[SpecT]):
    """A role with its contract and what reads the specification: (name, metadata, configuration, digest) -> spec."""

    role: Role[SpecT]
    contract: Contract
    read: Callable[[str, Mapping[str, Any], Mapping[str, Any], str], SpecT]


BOTH: tuple[ServedModel[Any], ...] = (
    ServedModel(DETECTOR, DETECTOR_CONTRACT, read_detector),
    ServedModel(EMBEDDER, EMBEDDER_CONTRACT, read_embedder),
)
"""The models of a search."""


def search_models(
    further_embedders: Iterable[str] = (), text_encoders: Iterable[str] = ()
) -> tuple[ServedModel[Any], ...]:
    """The models of a search, with further embedders and text encoders by the names of their folders."""
    further = (ServedModel(embedder_role(name), EMBEDDER_CONTRACT, read_embedder) for name in further_embedders)
    texts = (ServedModel(Role[TextEncoderSpec](name), TEXT_CONTRACT, read_text_encoder) for name in text_encoders)
    return (*BOTH, *further, *texts)


def preprocess(model: str, config: Mapping[str, Any], sizes: Mapping[str, int], default: Preprocess) -> Preprocess:
    """The steps that make the model's input. Raises CONFIGURATION for what cannot be executed."""
    return parse_preprocess(model, parameter(model, config, "preprocess", {}), sizes["W"], sizes["H"], default)


def check(model: str, contract: Contract, metadata: Mapping[str, Any]) -> dict[str, int]:
    """Compares live metadata with the contract; returns the model's own sizes by their letters."""
    sizes: dict[str, int] = {}
    for group, tensors in (("inputs", contract.inputs), ("outputs", contract.outputs)):
        found = {entry["name"]: entry for entry in metadata.get(group, ())}
        for tensor in tensors:
            match(model, tensor, found.get(tensor.name), sizes)
    return sizes


def match(model: str, tensor: Tensor, entry: Mapping[str, Any] | None, sizes: dict[str, int]) -> None:
    """Compares one live tensor with the contract's; fills `sizes`, and refuses a tensor that disagrees."""
    if entry is None:
        raise SightlineError(ErrorKind.CONFIGURATION, f"model {model} has no tensor {tensor.name}; expected {tensor}")
    shape = tuple(int(size) for size in entry["shape"])
    live = Tensor(tensor.name, entry["datatype"], shape)
    fits = entry["datatype"] == tensor.datatype and len(shape) == len(tensor.shape)
    for wanted, size in zip(tensor.shape, shape, strict=False):
        if wanted == "B":
            fits &= size == -1
        elif isinstance(wanted, int):
            fits &= size == wanted
        else:
            fits &= size > 0 and sizes.setdefault(wanted, size) == size
    if not fits:
        raise SightlineError(ErrorKind.CONFIGURATION, f"model {model}: expected {tensor}, found {live}")


def served_facts(name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str) -> ServedFacts:
    """The facts of the model `name`; `sha256` is the digest of its file, or empty for the one that is configured."""
    return ServedFacts(
        name=parameter(name, config, "name", name),
        version=version_of(metadata),
        sha256=sha256 or parameter(name, config, "sha256", ""),
        max_batch_size=int(config.get("max_batch_size", 0)),
        instances=instances(config),
    )


def version_of(metadata: Mapping[str, Any]) -> str:
    """The version that Triton serves; the highest of several."""
    versions = [str(version) for version in metadata.get("versions", ())]
    return max(versions, key=lambda version: (len(version), version), default="")


def instances(config: Mapping[str, Any]) -> int:
    """The number of copies of the model that run at once: a group's count on each of its GPUs, or on the CPU."""
    groups = config.get("instance_group", ())
    return max(1, sum(int(group.get("count", 1)) * max(1, len(group.get("gpus", ()))) for group in groups))


def batch_cost(config: Mapping[str, Any]) -> BatchCost:
    """The cost of the model's batches: linear where every instance runs on a CPU, shared where one does not.

    Triton's live configuration names the device that `KIND_AUTO` became.
    """
    groups = config.get("instance_group", ())
    on_cpu = bool(groups) and all(group.get("kind") == "KIND_CPU" for group in groups)
    return BatchCost.LINEAR if on_cpu else BatchCost.SHARED


def labels(model: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The detector's labels. Raises CONFIGURATION when there are none."""
    found = parameter(model, config, "labels", [])
    if not isinstance(found, list) or not found or not all(isinstance(label, str) for label in found):
        expected = "must be a JSON list of words, at least one"
        raise SightlineError(ErrorKind.CONFIGURATION, f"model {model}: parameter `labels` in config.pbtxt {expected}")
    return tuple(found)


def parameter(model: str, config: Mapping[str, Any], key: str, default: Any) -> Any:
    """A JSON parameter of a model's configuration; `default`'s type is required, and a text needs no quotes."""
    given = config.get("parameters", {}).get(key)
    if given is None:
        return default
    text = str(given.get("string_value", ""))
    if isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"model {model}: parameter `{key}` in config.pbtxt is not JSON"
        ) from error
    if not isinstance(value, type(default)):
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"model {model}: parameter `{key}` must be a JSON {type(default).__name__}"
        )
    return value
