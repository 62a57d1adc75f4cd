"""The facts of a collection, kept in its description: what it must hold, and samples by which that is checked.

Rule: written before the first row, from the local catalog, and never from what is in the collection.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from sightline_server.errors import ErrorKind, SightlineError

FORMAT = 2
"""2: the numbers of item groups follow from their texts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image row: the SHA-256 of its fields and vector, and the similarity of its tenth nearest vector."""

    image: int
    sha256: str
    tenth: float


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """The facts of one revision in Milvus. `index` is the type of its index; `metadata` are the local catalog's.

    They are those of the push. Where the collection is `writable`, its rows may have changed since.
    """

    catalog: str
    revision: str
    products: int
    images: int
    max_images: int
    gtins: int
    index: str
    metadata: dict[str, str]
    samples: tuple[Sample, ...]
    writable: bool = False
    format: int = FORMAT

    def text(self) -> str:
        """The facts as the text of a description."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a description. Raises `SightlineError` of kind CONFIGURATION where it is not ours."""
        try:
            facts = json.loads(text)
            found = facts["format"]
            if found == FORMAT:
                samples = tuple(Sample(**each) for each in facts.pop("samples"))
                return cls(**facts, samples=samples)
        except (ValueError, KeyError, TypeError) as error:
            message = "the collection in Milvus is not a Sightline catalog; push the catalog again"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error
        message = f"the collection in Milvus has format {found}, this server reads {FORMAT}; push the catalog again"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
