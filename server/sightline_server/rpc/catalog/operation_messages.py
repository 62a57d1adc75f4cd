"""Operations as google.longrunning has them: catalogs/{catalog}/operations/{id}."""

import re
from datetime import datetime

from google.longrunning.operations_proto_pb2 import Operation
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, status_pb2

from sightline.v1 import catalog_transfer_service_pb2 as pb
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.jobs.job import Job, JobKind
from sightline_server.rpc.refusals import invalid
from sightline_server.rpc.status import to_status

NAME = re.compile(r"catalogs/([^/]+)/operations/([0-9a-f]{32})")


def operation_in(name: str, catalog: str) -> str:
    """The id in the name of an operation of `catalog`. Raises `SightlineError`."""
    found = NAME.fullmatch(name)
    if not found or found[1] != catalog:
        raise invalid("name", "expected catalogs/{catalog}/operations/{id}")
    return found[2]


def unknown_operation() -> SightlineError:
    """The error of an operation that does not exist, or ended long ago."""
    return SightlineError(
        ErrorKind.UNKNOWN_OPERATION,
        "there is no such operation; operations end with the server, and the oldest ended ones are forgotten",
        field="name",
    )


def to_operation(job: Job, request_id: str) -> Operation:
    """The operation with its progress, and with its outcome once it has ended."""
    operation = Operation(name=f"catalogs/{job.catalog}/operations/{job.id}", done=not job.running)
    operation.metadata.Pack(to_metadata(job))
    if job.result is not None:
        operation.response.Pack(to_response(job))
    elif job.error is not None:
        operation.error.CopyFrom(to_error(job.error, request_id))
    return operation


def to_error(error: SightlineError, request_id: str) -> status_pb2.Status:
    """The error of an operation, with the details that a call with it would have."""
    status = to_status(error, request_id)
    made = status_pb2.Status(code=code_pb2.Code.Value(status.code.name), message=status.message)
    for detail in status.details:
        made.details.add().Pack(detail)
    return made


def to_response(job: Job) -> Message:
    """The response of an operation that succeeded."""
    result = job.result
    assert result is not None
    if job.kind is JobKind.IMPORT:
        return pb.ImportProductsResponse(product_count=result.products, revision=result.revision)
    if job.kind is JobKind.REEMBEDDING:
        return pb.ReembedCatalogResponse(
            revision=result.revision,
            revision_number=result.revision_number,
            product_count=result.products,
            image_count=result.images,
            reused_count=result.reused,
            left_out_count=result.left_out,
        )
    return pb.ExportProductsResponse(product_count=result.products, image_count=result.images, revision=result.revision)


def to_metadata(job: Job) -> pb.TransferMetadata:
    """The progress of an operation."""
    progress = job.progress
    return pb.TransferMetadata(
        create_time=to_timestamp(job.created_at),
        end_time=to_timestamp(job.ended_at),
        rows_total=progress.total,
        rows_read=progress.read,
        rows_written=progress.written,
        rows_failed=progress.failed,
        problem_count=progress.problems,
        problems=[
            pb.RowProblem(row=each.row, product_id=each.product_id, description=each.text, skipped=each.skipped)
            for each in progress.failures
        ],
    )


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """A time; None where there is none."""
    if time is None:
        return None
    made = Timestamp()
    made.FromDatetime(time)
    return made
