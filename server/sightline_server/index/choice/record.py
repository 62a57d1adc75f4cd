"""The choice for one content of a catalog, as it is written next to it. Pure.

Rule: a record is believed only for the content that it names. For another content of the same catalog it is a proposal:
its index is built and measured again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from sightline_server.index.choice.candidates import BY_NAME
from sightline_server.index.choice.trying import EXACT, Tried

FORMAT = 1
GREW = 2.0
"""An index that was chosen for so many times fewer or more vectors is not proposed."""


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A serialized index: its SHA-256, and that of the vectors in the order in which its rows count them."""

    sha256: str
    vectors_sha256: str


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """The choice for the content with the digest `content`: V = `vectors` of `dimension` numbers.

    `chosen_at` is an ISO 8601 time; `file` is None where nothing was serialized.
    """

    content: str
    revision: str
    vectors: int
    dimension: int
    chosen_at: str
    chosen: Tried
    tried: tuple[Tried, ...]
    file: IndexFile | None = None

    @property
    def exact(self) -> bool:
        """Returns whether exact search was chosen."""
        return self.chosen.name == EXACT

    @property
    def gpu(self) -> bool:
        """Returns whether the chosen index needs a GPU."""
        return not self.exact and BY_NAME[self.chosen.name].gpu

    def proposes(self, vectors: int, dimension: int) -> bool:
        """Returns whether the choice may be right for `vectors` others of `dimension` numbers."""
        return dimension == self.dimension and self.vectors / GREW <= vectors <= self.vectors * GREW

    def to_json(self) -> str:
        """The record as text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `to_json`. Raises `ValueError` for anything else."""
        facts = json.loads(text)
        if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        tried, file = facts.pop("tried", None), facts.pop("file", None)
        if not isinstance(tried, Sequence) or isinstance(tried, str):
            raise ValueError("tried: expected a list")
        record = cls(
            chosen=checked(Tried, facts.pop("chosen", None)),
            tried=tuple(checked(Tried, each) for each in tried),
            file=None if file is None else checked(IndexFile, file),
            **{name: facts.pop(name, None) for name in ("content", "revision", "vectors", "dimension", "chosen_at")},
        )
        if facts or not well_formed(record, cls):
            raise ValueError("its fields are not those of a record")
        return record


def checked(kind: type[Any], facts: Any) -> Any:
    """A value of `kind` with the fields `facts`. Raises `ValueError` for others."""
    if not isinstance(facts, Mapping) or set(facts) != {field.name for field in fields(kind)}:
        raise ValueError(f"{kind.__name__}: unexpected fields")
    made = kind(**facts)
    if not well_formed(made, kind):
        raise ValueError(f"{kind.__name__}: a field has the wrong type or is out of range")
    return made


def well_formed(made: Any, kind: type[Any]) -> bool:
    """Returns whether every text is a text, every number is at least 0, and a name is known."""
    for field in fields(kind):
        value = getattr(made, field.name)
        if field.type is str and not isinstance(value, str):
            return False
        if field.type is int and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            return False
        if field.type is float and (not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0):
            return False
    return not isinstance(made, Tried) or made.name == EXACT or made.name in BY_NAME
