"""The text encoders that are served, and the embedder that each belongs to.

Rule: an image and a text can be compared only where both towers were trained together. So a text encoder states the
file of its embedder, and one whose embedder is another is refused when the engine starts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightline_models.embedders import embedder_folder_of
from sightline_server.domain.embedders import ServedEmbedder, ServedEmbedders
from sightline_server.domain.models import EmbedderSpec, Role, TextEncoderSpec
from sightline_server.errors import ErrorKind, SightlineError


@dataclass(frozen=True, slots=True)
class ServedTextEncoder:
    """A text encoder that the engine runs, and the role by which it is called: the name of its folder."""

    role: Role[TextEncoderSpec]
    spec: TextEncoderSpec


def by_embedder(
    specs: Sequence[tuple[Role[TextEncoderSpec], TextEncoderSpec]], embedders: ServedEmbedders
) -> Mapping[str, ServedTextEncoder]:
    """The text encoders by the identity of their embedder.

    Raises `SightlineError` of kind CONFIGURATION for one whose embedder is not served, or is another one.
    """
    found: dict[str, ServedTextEncoder] = {}
    for role, spec in specs:
        embedder = embedder_of(role, embedders)
        require_pair(role, spec, embedder.role, embedder.spec)
        found[embedder.spec.identity] = ServedTextEncoder(role, spec)
    return found


def embedder_of(role: str, embedders: ServedEmbedders) -> ServedEmbedder:
    """The embedder in the folder next to that of a text encoder. Raises `SightlineError` of kind CONFIGURATION."""
    folder = embedder_folder_of(role)
    for each in embedders.models:
        if each.role == folder:
            return each
    message = f"the text encoder {role} belongs to {folder}, which is not served; serve both, or none of them"
    raise SightlineError(ErrorKind.CONFIGURATION, message)


def require_pair(text_folder: str, text: TextEncoderSpec, folder: str, embedder: EmbedderSpec) -> None:
    """Raises `SightlineError` of kind CONFIGURATION unless `text` belongs to `embedder`."""
    if text.embedder_sha256 and embedder.sha256:
        same = embedder.sha256 in (text.embedder_sha256, in_bf16(text.embedder_sha256))
    else:
        same = text.embedder_name == embedder.name
    advice = (
        f"put the text encoder of {embedder.identity} there, as `sightline models export` and `models adopt` do, or "
        f"remove the folder {text_folder}"
    )
    if not same:
        stated = text.embedder_name + (f"@{text.embedder_sha256[:12]}" if text.embedder_sha256 else "")
        message = f"the text encoder {text_folder} belongs to {stated}, and {folder} is {embedder.identity}; {advice}"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    if text.dimension != embedder.dimension:
        message = (
            f"the vectors of the text encoder {text_folder} have {text.dimension} numbers, and those of {folder} "
            f"{embedder.dimension}; {advice}"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def in_bf16(sha256: str) -> str:
    """The digest that stands for a file whose answers bf16 changes, so that it counts as another model."""
    return hashlib.sha256(f"{sha256} bf16".encode()).hexdigest()
