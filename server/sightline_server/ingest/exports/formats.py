"""The formats of an export, chosen by the name of its file."""

from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError

PACKED = ".gz"


class ExportFormat(Enum):
    """The formats that are written."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    XML = "xml"
    PARQUET = "parquet"


SUFFIXES = {
    ".csv": ExportFormat.CSV,
    ".tsv": ExportFormat.TSV,
    ".jsonl": ExportFormat.JSONL,
    ".ndjson": ExportFormat.JSONL,
    ".xml": ExportFormat.XML,
    ".rss": ExportFormat.XML,
    ".parquet": ExportFormat.PARQUET,
}
WITH_EMBEDDINGS = (ExportFormat.JSONL, ExportFormat.PARQUET)


def is_packed(name: str) -> bool:
    """Returns whether a file of this name is written through gzip."""
    return name.lower().endswith(PACKED)


def format_named(name: str) -> ExportFormat | None:
    """The format that the name of a file says, with or without `.gz`; None where it says none."""
    plain = name.lower().removesuffix(PACKED)
    return next((format_ for suffix, format_ in SUFFIXES.items() if plain.endswith(suffix)), None)


def chosen_format(name: str, stated: ExportFormat | None, *, embeddings: bool) -> ExportFormat:
    """The format of an export to the file `name`.

    Raises `SightlineError` of kind CONFIGURATION where there is none, or it cannot hold embeddings.
    """
    found = stated or format_named(name)
    if found is None:
        message = f"the name {name!r} does not say its format; expected one of {', '.join(SUFFIXES)}, or --format"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    if embeddings and found not in WITH_EMBEDDINGS:
        message = f"a feed in {found.value} cannot hold embeddings; use jsonl or parquet"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return found
