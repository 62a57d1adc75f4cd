"""The roles of models, and the facts that the server needs about each model; read from Triton, never written twice.

Rule: a role is a value. Another one is added with its specification and the step that runs it; nothing that loads,
probes or restarts models names a role.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar

from sightline_server.domain.preprocess import DETECTOR_PREPROCESS, EMBEDDER_PREPROCESS, Preprocess
from sightline_server.domain.vocabulary import DEFAULT_VOCABULARY, Vocabulary


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

    `batch_cost` depends on the device and does not tell models apart.
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

    @property
    def identity(self) -> str:
        """Name and short digest, as answers and metrics show it."""
        return identity(self.name, self.sha256)


def identity(name: str, sha256: str) -> str:
    """`name@` and the first twelve digits of the digest, or the name alone."""
    return f"{name}@{sha256[:12]}" if sha256 else name


DETECTOR = Role[DetectorSpec]("detector")
"""Finds the objects of a photo."""

EMBEDDER = Role[EmbedderSpec]("embedder")
"""Makes a vector of each object and of each catalog image."""

ROLES: tuple[AnyRole, ...] = (DETECTOR, EMBEDDER)
"""The roles of a search."""
