"""The description of a published revision: the file `CURRENT` of a publication, and the mark of a replica.

    sightline-publication 1 <SHA-256 of the rest>
    {"publication": ..., "sequence": ..., "name": ..., "files": [...], "living": {...}}
Rule: paths of files stay within the catalog's folder. The first line is that of `sealed`.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import pyarrow as pa

from sightline_server.catalog.operations import Layout
from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.sealed import sealed, unsealed

FORMAT = 1
MAGIC = "sightline-publication"
LARGEST = 16 << 20
"""Bytes of a description; one with 64 files of rows has about 20,000."""
PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
HEX = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of a catalog: its path within the catalog's folder, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LivingFacts:
    """The facts of a catalog with a log: its revision, columns and the facts of the embedder.

    The revision is of the first generation, because a replica has one.
    """

    revision: Revision
    layout: Layout
    facts: Mapping[str, Any]

    def to_fields(self) -> dict[str, Any]:
        """The facts as JSON values."""
        revision = asdict(self.revision) | {"kind": self.revision.kind.value}
        schema = base64.b64encode(self.layout.schema.serialize().to_pybytes()).decode()
        return {"revision": revision, "schema": schema, "heavy": list(self.layout.heavy), "facts": dict(self.facts)}

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """The reverse of `to_fields`. Raises KeyError, TypeError, ValueError or `pa.ArrowException`."""
        revision = Revision(**(fields["revision"] | {"kind": RevisionKind(fields["revision"]["kind"])}))
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(fields["schema"])))
        return cls(revision, Layout(schema, tuple(fields["heavy"])), dict(fields["facts"]))


@dataclass(frozen=True, slots=True)
class Description:
    """A published revision, called `name`, and its files; `living` is None for a catalog without a log.

    `publication` is the random name of the series that the revision belongs to, and `sequence` its number in it, from 1
    on. `published_at` is an ISO 8601 time with a time zone. `since` is the sequence of the earliest revision of which
    this one differs by operations alone; its own after a rollback.
    """

    publication: str
    sequence: int
    published_at: str
    name: str
    files: tuple[PublishedFile, ...]
    living: LivingFacts | None
    since: int

    def continues(self, other: "Description | None") -> bool:
        """Returns whether this content is that of `other` and operations after it."""
        return other is not None and other.publication == self.publication and self.since <= other.sequence

    def to_bytes(self) -> bytes:
        """The text of the file."""
        fields = {
            "publication": self.publication,
            "sequence": self.sequence,
            "published_at": self.published_at,
            "name": self.name,
            "files": [asdict(each) for each in self.files],
            "living": None if self.living is None else self.living.to_fields(),
            "since": self.since,
        }
        return sealed(MAGIC, FORMAT, json.dumps(fields, indent=1).encode())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The reverse of `to_bytes`. Raises `NotFollowedError`: INCOMPLETE for a part of one, else FORMAT."""
        body = unsealed(MAGIC, FORMAT, data, "the revision was")
        try:
            return cls._of_fields(json.loads(body))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, pa.ArrowException) as error:
            message = "the description of the published revision has unexpected fields; publish the catalog again"
            raise NotFollowedError(Reason.FORMAT, message) from error

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any]) -> Self:
        living = None if fields["living"] is None else LivingFacts.parse(fields["living"])
        found = cls(
            publication=str(fields["publication"]),
            sequence=int(fields["sequence"]),
            published_at=str(fields["published_at"]),
            name=str(fields["name"]),
            files=tuple(PublishedFile(**each) for each in fields["files"]),
            living=living,
            # Earlier versions of Sightline do not say it.
            since=int(fields.get("since", fields["sequence"])),
        )
        if not HEX.fullmatch(found.publication) or datetime.fromisoformat(found.published_at).tzinfo is None:
            raise ValueError("its publication or its time is not valid")
        if not found.files:
            raise ValueError("it has no files")
        for file in found.files:
            if not PATH.fullmatch(file.path) or not SHA256.fullmatch(file.sha256) or file.size < 0:
                raise ValueError("a file of it is not valid")
        return found
