"""The embedders that are served, and which of them a catalog is bound to.

Rule: a catalog is bound to the served embedder whose vectors can be compared with its own, never to another one. The
first embedder is that of new catalogs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sightline_server.domain.models import EMBEDDER, EmbedderSpec, Role, embedder_mismatch
from sightline_server.errors import ErrorKind, SightlineError


class Embedders(Protocol):
    """The embedders that a catalog may be bound to: one `EmbedderSpec`, or all those that are served."""

    def serving(self, stored: EmbedderSpec) -> EmbedderSpec:
        """The one whose vectors can be compared with those of `stored`, the embedder of a catalog.

        Raises `SightlineError` of kind CONFIGURATION with the reason where there is none.
        """


@dataclass(frozen=True, slots=True)
class ServedEmbedder:
    """An embedder that the engine runs, and the role by which it is called: the name of its folder."""

    role: Role[EmbedderSpec]
    spec: EmbedderSpec


@dataclass(frozen=True, slots=True)
class ServedEmbedders:
    """All embedders of an engine, the one of the role `embedder` first. No two have the same identity."""

    models: tuple[ServedEmbedder, ...]

    @classmethod
    def of(cls, specs: Sequence[tuple[Role[EmbedderSpec], EmbedderSpec]]) -> "ServedEmbedders":
        """The embedders of these roles.

        Raises `SightlineError` of kind CONFIGURATION where two have one identity, so that answers could not say which
        of them made a vector.
        """
        folders: dict[str, str] = {}
        for role, spec in specs:
            if (other := folders.setdefault(spec.identity, role)) != role:
                message = (
                    f"the models {other} and {role} are both {spec.identity}; give one of them another `name` in its "
                    "config.pbtxt, or remove it"
                )
                raise SightlineError(ErrorKind.CONFIGURATION, message)
        return cls(tuple(ServedEmbedder(role, spec) for role, spec in specs))

    @property
    def first(self) -> ServedEmbedder:
        """The embedder of new catalogs."""
        return self.models[0]

    @property
    def identities(self) -> tuple[str, ...]:
        """The identities of all, the first one first."""
        return tuple(model.spec.identity for model in self.models)

    def serving(self, stored: EmbedderSpec) -> EmbedderSpec:
        """See `Embedders`."""
        return self.bound_to(stored).spec

    def bound_to(self, stored: EmbedderSpec) -> ServedEmbedder:
        """As `serving`, with its role."""
        reasons = [embedder_mismatch(stored, model.spec) for model in self.models]
        found = next((model for model, reason in zip(self.models, reasons, strict=True) if reason is None), None)
        if found is not None:
            return found
        if len(self.models) == 1:
            raise SightlineError(ErrorKind.CONFIGURATION, str(reasons[0]))
        served = ", ".join(f"{model.spec.identity} ({model.role})" for model in self.models)
        raise SightlineError(ErrorKind.CONFIGURATION, f"{stored.identity} in the catalog, the engine serves {served}")

    def embedder_of(self, identity: str) -> ServedEmbedder:
        """The embedder of this identity, such as `Snapshot.embedder`. Raises `KeyError` for one that is not served."""
        return {model.spec.identity: model for model in self.models}[identity]

    def named(self, text: str) -> ServedEmbedder:
        """The embedder that an operator names by its folder, its name or its identity.

        Raises `SightlineError` of kind CONFIGURATION that names those that are served.
        """
        for model in self.models:
            if text in (model.role, model.spec.identity, model.spec.name, f"{model.spec.name}@{model.spec.sha256}"):
                return model
        served = ", ".join(f"{model.role} ({model.spec.identity})" for model in self.models)
        raise SightlineError(ErrorKind.CONFIGURATION, f"there is no embedder {text!r}; the engine serves {served}")


def embedder_role(folder: str) -> Role[EmbedderSpec]:
    """The role of the embedder in this folder of the model repository."""
    return EMBEDDER if folder == EMBEDDER else Role[EmbedderSpec](folder)


def other_embedder(identity: str) -> SightlineError:
    """The error of vectors that another embedder made than that of the catalog, which is `identity`."""
    message = f"embedder: the embeddings of this catalog are of {identity}; make the vectors with that embedder"
    return SightlineError(ErrorKind.EMBEDDER_MISMATCH, message, field="embedder", metadata={"embedder": identity})
