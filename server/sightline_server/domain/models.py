"""The roles of models, and the facts that the server needs about each model; read from Triton, never written twice.

Rule: a role is a value. Another one is added with its specification and the step that runs it; nothing that loads,
probes or restarts models names a role.
"""

import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Generic, Protocol, Self, TypeVar

from sightline_server.domain.preprocess import DETECTOR_PREPROCESS, EMBEDDER_PREPROCESS, Preprocess
from sightline_server.domain.search_defaults import SearchDefaults
from sightline_server.domain.vocabulary import DEFAULT_VOCABULARY, Vocabulary
from sightline_server.errors import ErrorKind, SightlineError


class BatchCost(Enum):
    """The cost of a batch, compared with that of its items one by one."""

    LINEAR = auto()
    """The same, as on a CPU: a batch that is divided costs no more."""
    SHARED = auto()
    """Much less, as on a GPU: items that can go together should."""


class ModelSpec(Protocol):
    """The facts of every model, whatever its role."""

    @property
    def name(self) -> str:
        """The name that answers, metrics and catalogs have for it."""

    @property
    def sha256(self) -> str:
        """The digest of the model's file where the engine knows it, else empty."""

    @property
    def max_batch_size(self) -> int:
        """The most items of one call; 0 for any number."""

    @property
    def instances(self) -> int:
        """The number of calls that run at once."""

    @property
    def identity(self) -> str:
        """Name and short digest, as answers and metrics show it."""


SpecT = TypeVar("SpecT", bound=ModelSpec)


class Role(str, Generic[SpecT]):
    """A part that a model plays, with specifications of type `SpecT`; the text is its folder in the repository."""

    __slots__ = ()


AnyRole = Role[Any]


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """The detector behind the engine: input uint8 [B,height,width,3], at most `max_detections` answers an image.

    `labels[i]` is the word for label i, and `vocabulary` says what the words mean. `preprocess` makes its input.
    `sha256` is the digest of the model file where the engine knows it, else empty. `instances` of it run at once.
    """

    name: str
    version: str
    height: int
    width: int
    max_detections: int
    labels: tuple[str, ...]
    preprocess: Preprocess = DETECTOR_PREPROCESS
    sha256: str = ""
    max_batch_size: int = 0
    instances: int = 1
    vocabulary: Vocabulary = DEFAULT_VOCABULARY

    @property
    def identity(self) -> str:
        """Name and short digest, as answers and metrics show it."""
        return identity(self.name, self.sha256)


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """The embedder behind the engine: input uint8 [B,height,width,3], output float32 [B,dimension], L2-normalised.

    `batch_cost` depends on the device, and `search` on how the model is used; neither tells models apart.
    """

    name: str
    version: str
    height: int
    width: int
    dimension: int
    preprocess: Preprocess = EMBEDDER_PREPROCESS
    sha256: str = ""
    max_batch_size: int = 0
    instances: int = 1
    batch_cost: BatchCost = field(default=BatchCost.SHARED, compare=False)
    search: SearchDefaults = field(default=SearchDefaults(), compare=False)

    @property
    def identity(self) -> str:
        """Name and short digest, as answers and metrics show it."""
        return identity(self.name, self.sha256)

    def serving(self, stored: "EmbedderSpec") -> Self:
        """Itself, for a catalog whose vectors are of `stored`. See `domain.embedders.Embedders`."""
        if reason := embedder_mismatch(stored, self):
            raise SightlineError(ErrorKind.CONFIGURATION, reason)
        return self


@dataclass(frozen=True, slots=True)
class TextEncoderSpec:
    """A text encoder behind the engine: input int64 [B,length], output float32 [B,dimension], L2-normalised.

    `embedder_name` and `embedder_sha256`, which may be empty, say whose vectors its own can be compared with.
    `tokenizer_sha256` is the digest of the tokenizer that makes its input.
    """

    name: str
    version: str
    length: int
    dimension: int
    embedder_name: str
    embedder_sha256: str
    tokenizer_sha256: str
    sha256: str = ""
    max_batch_size: int = 0
    instances: int = 1

    @property
    def identity(self) -> str:
        """Name and short digest, as answers and metrics show it."""
        return identity(self.name, self.sha256)


def embedder_mismatch(stored: EmbedderSpec, live: EmbedderSpec) -> str | None:
    """The reason why vectors of `stored` cannot be compared with those of `live`; None when they can.

    Names count only where a digest is unknown, as with a remote engine; versions are labels and do not count.
    """
    if stored.dimension != live.dimension:
        return f"dimension {stored.dimension} in the catalog, {live.dimension} in the engine"
    if stored.sha256 and live.sha256:
        if stored.sha256 != live.sha256:
            return f"{stored.identity} in the catalog, {live.identity} in the engine"
    elif stored.name != live.name:
        return f"{stored.name} in the catalog, {live.name} in the engine"
    if (stored.height, stored.width) != (live.height, live.width):
        sizes = f"{stored.width}x{stored.height} in the catalog, {live.width}x{live.height} in the engine"
        return f"input size {sizes}"
    if stored.preprocess != live.preprocess:
        was, now = (json.dumps(spec.preprocess.facts()) for spec in (stored, live))
        return f"the images are preprocessed differently: preprocess {was} in the catalog, {now} in the engine"
    return None


def identity(name: str, sha256: str) -> str:
    """`name@` and the first twelve digits of the digest, or the name alone."""
    return f"{name}@{sha256[:12]}" if sha256 else name


DETECTOR = Role[DetectorSpec]("detector")
"""Finds the objects of a photo."""

EMBEDDER = Role[EmbedderSpec]("embedder")
"""Makes a vector of each object and of each catalog image; further embedders have separate roles (embedders.py)."""

ROLES: tuple[AnyRole, ...] = (DETECTOR, EMBEDDER)
"""The roles of a search."""
