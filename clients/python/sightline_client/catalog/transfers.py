"""Imports, exports and reembeddings of catalogs, which the server runs (google.longrunning).

Rule: starting one is never repeated by the client, because it has no request id. Waiting asks in turns, so that
progress is seen, and a turn that cannot reach the server is repeated.
"""

import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from google.longrunning import operations_proto_pb2 as lro
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from sightline.v1 import catalog_transfer_service_pb2 as pb
from sightline_client import errors, request, status, values
from sightline_client.calls import Calls
from sightline_client.catalog import checks, requests
from sightline_client.catalog.convert import moment
from sightline_client.catalog.operations import (
    DecimalSign,
    ExportResult,
    FeedFormat,
    ImportResult,
    Operation,
    Progress,
    ReembedResult,
    RowProblem,
)

SERVICE = pb.DESCRIPTOR.services_by_name["CatalogTransferService"].full_name
OPERATIONS = lro.DESCRIPTOR.services_by_name["Operations"].full_name
TURN_S = 1.0
"""Seconds after which a wait asks again, for the progress."""
ANSWER_S = 10.0
"""Deadline of the call of a turn, beyond the turn itself."""

FORMATS = {
    FeedFormat.BY_NAME: pb.FEED_FORMAT_UNSPECIFIED,
    FeedFormat.CSV: pb.FEED_FORMAT_CSV,
    FeedFormat.TSV: pb.FEED_FORMAT_TSV,
    FeedFormat.JSONL: pb.FEED_FORMAT_JSONL,
    FeedFormat.XML: pb.FEED_FORMAT_XML,
    FeedFormat.PARQUET: pb.FEED_FORMAT_PARQUET,
}
SIGNS = {
    DecimalSign.AUTO: pb.DECIMAL_SIGN_UNSPECIFIED,
    DecimalSign.POINT: pb.DECIMAL_SIGN_POINT,
    DecimalSign.COMMA: pb.DECIMAL_SIGN_COMMA,
}


class Transfers:
    """`AsyncCatalogClient.transfers`. Every method raises `SightlineError`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def import_feed(
        self,
        catalog: str,
        uri: str,
        *,
        embedded: bool = False,
        encoding: str = "",
        currency: str = "",
        decimal_sign: DecimalSign = DecimalSign.AUTO,
        timeout_s: float | None = None,
    ) -> Operation:
        """Starts to add or replace the products of a feed: a file below the server's import folder, or an address.

        `embedded` says that the feed has ready embeddings. Returns the operation, which goes on without this client.
        """
        if not isinstance(decimal_sign, DecimalSign):
            raise request.invalid("decimal_sign", f"must be a DecimalSign, not {values.quoted(decimal_sign)}")
        message = pb.ImportProductsRequest(
            parent=requests.catalog_name(catalog),
            uri=requests.checked("uri", checks.required_text, uri),
            embedded=requests.checked("embedded", checks.flag, embedded),
            encoding=requests.checked("encoding", values.text, encoding),
            currency=requests.checked("currency", values.text, currency),
            decimal_sign=SIGNS[decimal_sign],
        )
        path = f"/{SERVICE}/ImportProducts"
        return operation_from_pb(await self._calls.message(path, message, lro.Operation, timeout_s, repeatable=False))

    async def export(
        self,
        catalog: str,
        uri: str,
        *,
        format: FeedFormat = FeedFormat.BY_NAME,
        embeddings: bool = False,
        revision: int = 0,
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> Operation:
        """Starts to write the products of a catalog to a file below the server's export folder.

        `revision` 0 is the content of now; `replace` also writes over a file that exists.
        """
        if not isinstance(format, FeedFormat):
            raise request.invalid("format", f"must be a FeedFormat, not {values.quoted(format)}")
        message = pb.ExportProductsRequest(
            parent=requests.catalog_name(catalog),
            uri=requests.checked("uri", checks.required_text, uri),
            format=FORMATS[format],
            embeddings=requests.checked("embeddings", checks.flag, embeddings),
            revision=requests.checked("revision", lambda value: values.integer(value, 0, 2**63 - 1), revision),
            replace=requests.checked("replace", checks.flag, replace),
        )
        path = f"/{SERVICE}/ExportProducts"
        return operation_from_pb(await self._calls.message(path, message, lro.Operation, timeout_s, repeatable=False))

    async def reembed(
        self,
        catalog: str,
        embedder: str,
        *,
        skip_missing: bool = False,
        max_lost_percent: int = 0,
        timeout_s: float | None = None,
    ) -> Operation:
        """Starts to embed a catalog by another embedder of the server, as a revision that `activate` searches with.

        `skip_missing` leaves out products and images that cannot be had, at most `max_lost_percent` of them; 0 is 10.
        """
        message = pb.ReembedCatalogRequest(
            parent=requests.catalog_name(catalog),
            embedder=requests.checked("embedder", checks.required_text, embedder),
            skip_missing=requests.checked("skip_missing", checks.flag, skip_missing),
            max_lost_percent=requests.checked(
                "max_lost_percent", lambda value: values.integer(value, 0, 100), max_lost_percent
            ),
        )
        path = f"/{SERVICE}/ReembedCatalog"
        return operation_from_pb(await self._calls.message(path, message, lro.Operation, timeout_s, repeatable=False))

    async def get(self, operation: Operation | str, *, timeout_s: float | None = None) -> Operation:
        """An operation as it is now, also by its name."""
        message = lro.GetOperationRequest(name=name_of(operation))
        return operation_from_pb(
            await self._calls.message(f"/{OPERATIONS}/GetOperation", message, lro.Operation, timeout_s)
        )

    async def list(
        self, catalog: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[Operation, None]:
        """The operations of a catalog that the server remembers, page by page."""
        message = lro.ListOperationsRequest(
            name=requests.catalog_name(catalog), page_size=requests.page_size(page_size)
        )
        while True:
            path = f"/{OPERATIONS}/ListOperations"
            answer = await self._calls.message(path, message, lro.ListOperationsResponse, timeout_s)
            for each in answer.operations:
                yield operation_from_pb(each)
            if not answer.next_page_token:
                return
            message.page_token = answer.next_page_token

    async def cancel(self, operation: Operation | str, *, timeout_s: float | None = None) -> None:
        """Asks the server to end an operation. Products that an import has written stay."""
        message = lro.CancelOperationRequest(name=name_of(operation))
        await self._calls.message(f"/{OPERATIONS}/CancelOperation", message, Empty, timeout_s)

    async def wait(
        self,
        operation: Operation | str,
        *,
        timeout_s: float = math.inf,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Operation:
        """The operation once it is done; `on_progress` gets its progress about once a second until then.

        Raises the operation's own error, and `DeadlineExceededError` after `timeout_s`; the operation goes on then.
        """
        name, left_s = name_of(operation), request.timeout_s(timeout_s)
        end = time.monotonic() + left_s
        while True:
            turn_s = max(0.0, min(TURN_S, end - time.monotonic()))
            message = lro.WaitOperationRequest(name=name)
            message.timeout.FromNanoseconds(round(turn_s * 1e9))
            answer = await self._calls.message(
                f"/{OPERATIONS}/WaitOperation", message, lro.Operation, turn_s + ANSWER_S
            )
            found = operation_from_pb(answer)
            on_progress(found.progress)
            if found.error is not None:
                raise found.error
            if found.done:
                return found
            if time.monotonic() >= end:
                text = f"the operation {name} was not done within {left_s:g} s; it goes on"
                raise errors.DeadlineExceededError(text, code="DEADLINE_EXCEEDED")


def name_of(operation: object) -> str:
    """The name of an operation. Raises `InvalidRequestError`."""
    name = operation.name if isinstance(operation, Operation) else operation
    return requests.checked("operation", checks.required_text, name)


def operation_from_pb(message: lro.Operation) -> Operation:
    """An operation of an answer; a result that this client does not know is None."""
    return Operation(
        name=message.name,
        done=message.done,
        progress=progress_from_pb(message),
        result=result_from_pb(message) if message.HasField("response") else None,
        error=status.error_of(message.error) if message.HasField("error") else None,
    )


def progress_from_pb(message: lro.Operation) -> Progress:
    """The progress in the metadata of an operation; empty for metadata that this client does not know."""
    found = pb.TransferMetadata()
    with suppress(DecodeError):
        message.metadata.Unpack(found)
    return Progress(
        rows_total=found.rows_total,
        rows_read=found.rows_read,
        rows_written=found.rows_written,
        rows_failed=found.rows_failed,
        problem_count=found.problem_count,
        problems=tuple(
            RowProblem(each.row, each.product_id, each.description, each.skipped) for each in found.problems
        ),
        created_at=moment(found.create_time) if found.HasField("create_time") else None,
        ended_at=moment(found.end_time) if found.HasField("end_time") else None,
    )


def result_from_pb(message: lro.Operation) -> ImportResult | ExportResult | ReembedResult | None:
    """The result of an operation that has succeeded."""
    imported, exported = pb.ImportProductsResponse(), pb.ExportProductsResponse()
    made = pb.ReembedCatalogResponse()
    with suppress(DecodeError):
        if message.response.Unpack(imported):
            return ImportResult(imported.product_count, imported.revision)
        if message.response.Unpack(exported):
            return ExportResult(exported.product_count, exported.image_count, exported.revision)
        if message.response.Unpack(made):
            return ReembedResult(
                made.revision,
                made.revision_number,
                made.product_count,
                made.image_count,
                made.reused_count,
                made.left_out_count,
            )
    return None
