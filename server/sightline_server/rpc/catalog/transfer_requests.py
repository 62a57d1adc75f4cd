"""Requests of imports, exports and reembeddings as checked values."""

from dataclasses import dataclass
from typing import Protocol

from sightline.v1 import catalog_transfer_service_pb2 as pb
from sightline_server.errors import SightlineError
from sightline_server.ingest.exports.formats import ExportFormat, chosen_format
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat, checked_currency
from sightline_server.ingest.feeds.text import checked_encoding
from sightline_server.ingest.guard import MAX_LOST
from sightline_server.jobs.job import Job
from sightline_server.jobs.jobs import Jobs
from sightline_server.ports import CatalogWriter
from sightline_server.rpc.refusals import invalid

MAX_URI_BYTES = 4096
SIGNS = {
    pb.DECIMAL_SIGN_UNSPECIFIED: PriceFormat.AUTO,
    pb.DECIMAL_SIGN_POINT: PriceFormat.POINT,
    pb.DECIMAL_SIGN_COMMA: PriceFormat.COMMA,
}
FORMATS = {
    pb.FEED_FORMAT_UNSPECIFIED: None,
    pb.FEED_FORMAT_CSV: ExportFormat.CSV,
    pb.FEED_FORMAT_TSV: ExportFormat.TSV,
    pb.FEED_FORMAT_JSONL: ExportFormat.JSONL,
    pb.FEED_FORMAT_XML: ExportFormat.XML,
    pb.FEED_FORMAT_PARQUET: ExportFormat.PARQUET,
}


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A feed to import, by its file name or address, and how it is read."""

    uri: str
    options: FeedOptions
    embedded: bool = False


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A file to export to; `revision` None is the content of now."""

    uri: str
    format: ExportFormat
    embeddings: bool = False
    revision: int | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class ReembedRequest:
    """A reembedding by the embedder of this name; `max_lost` is the share (0 to 1) that may be left out."""

    embedder: str
    skip_missing: bool = False
    max_lost: float = MAX_LOST


class Transfers(Protocol):
    """Starts imports, exports and reembeddings, and keeps them."""

    @property
    def jobs(self) -> Jobs:
        """The operations of the server."""

    def start_import(self, writer: CatalogWriter, wanted: ImportRequest) -> Job:
        """Starts an import. Raises `SightlineError` for a file that may not be read, and as `Jobs.start`."""

    def start_export(self, catalog: str, wanted: ExportRequest) -> Job:
        """Starts an export. Raises `SightlineError` for a file that may not be written, and as `Jobs.start`."""

    def start_reembedding(self, writer: CatalogWriter, wanted: ReembedRequest) -> Job:
        """Starts a reembedding. Raises `SightlineError` for an unknown embedder, and as `Jobs.start`."""


def to_import(request: pb.ImportProductsRequest) -> ImportRequest:
    """The import that a request asks for. Raises `SightlineError` that names the field."""
    check_uri(request.uri)
    if request.decimal_sign not in SIGNS:
        raise invalid("decimal_sign", "expected DECIMAL_SIGN_POINT, DECIMAL_SIGN_COMMA or nothing")
    try:
        encoding = checked_encoding(request.encoding) if request.encoding else ""
    except SightlineError:
        raise invalid("encoding", "expected the name of an encoding of text, such as cp1252") from None
    try:
        currency = checked_currency(request.currency)
    except SightlineError:
        raise invalid("currency", "expected an ISO 4217 code, such as EUR") from None
    return ImportRequest(request.uri, FeedOptions(encoding, SIGNS[request.decimal_sign], currency), request.embedded)


def to_export(request: pb.ExportProductsRequest) -> ExportRequest:
    """The export that a request asks for. Raises `SightlineError` that names the field."""
    check_uri(request.uri)
    if request.format not in FORMATS:
        raise invalid("format", "expected one of FeedFormat")
    if request.revision < 0:
        raise invalid("revision", "must be 0 or the number of a revision")
    try:
        chosen = chosen_format(request.uri, FORMATS[request.format], embeddings=request.embeddings)
    except SightlineError:
        text = "expected a file name that says its format, such as shop.csv; with embeddings JSONL or PARQUET"
        raise invalid("format", text) from None
    return ExportRequest(request.uri, chosen, request.embeddings, request.revision or None, request.replace)


def to_reembed(request: pb.ReembedCatalogRequest) -> ReembedRequest:
    """The reembedding that a request asks for. Raises `SightlineError` that names the field."""
    if not request.embedder:
        raise invalid("embedder", "expected the name or the identity of an embedder of the server")
    if not 0 <= request.max_lost_percent <= 100:
        raise invalid("max_lost_percent", "must be from 0 to 100")
    max_lost = request.max_lost_percent / 100 if request.max_lost_percent else MAX_LOST
    return ReembedRequest(request.embedder, request.skip_missing, max_lost)


def check_uri(uri: str) -> None:
    """Raises `SightlineError` for a text that names no file or address."""
    if not uri or len(uri.encode()) > MAX_URI_BYTES:
        raise invalid("uri", f"expected the name of a file or an address, with at most {MAX_URI_BYTES} bytes")
