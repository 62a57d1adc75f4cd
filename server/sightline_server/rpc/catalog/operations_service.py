"""`google.longrunning.Operations` for the operations of catalogs: get, list, cancel, wait.

Rule: an operation belongs to its catalog, so access to it is access to the catalog. DeleteOperation is not offered:
ended operations are forgotten in their order.
"""

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

from google.longrunning import operations_proto_pb2 as lro
from google.protobuf.empty_pb2 import Empty

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.request import Lane
from sightline_server.jobs.job import Job
from sightline_server.jobs.jobs import Jobs
from sightline_server.rpc.call import Call
from sightline_server.rpc.catalog.names import catalog_in, check_catalog, page_start, page_token
from sightline_server.rpc.catalog.operation_messages import operation_in, to_operation, unknown_operation
from sightline_server.rpc.catalog.writers import CatalogWriters
from sightline_server.rpc.edge import Edge, Handler
from sightline_server.rpc.method import Method, Target
from sightline_server.rpc.refusals import invalid

SERVICE = lro.DESCRIPTOR.services_by_name["Operations"]
PAGE, LARGEST_PAGE = 50, 100
MARGIN_S = 0.5
"""Seconds before the deadline of a wait at which its answer is sent."""

Named: TypeAlias = lro.GetOperationRequest | lro.CancelOperationRequest | lro.WaitOperationRequest


def of_name(request: Named | lro.ListOperationsRequest) -> Target:
    """The catalog that a request asks access to."""
    return Target(catalog_in(request.name), Lane.BATCH)


GET = Method(SERVICE.methods_by_name["GetOperation"], lro.GetOperationRequest, lro.Operation, of_name)
LIST = Method(SERVICE.methods_by_name["ListOperations"], lro.ListOperationsRequest, lro.ListOperationsResponse, of_name)
CANCEL = Method(SERVICE.methods_by_name["CancelOperation"], lro.CancelOperationRequest, Empty, of_name)
WAIT = Method(SERVICE.methods_by_name["WaitOperation"], lro.WaitOperationRequest, lro.Operation, of_name)


class OperationsService:
    """The service on the listener of catalogs."""

    name = str(SERVICE.full_name)

    def __init__(self, edge: Edge, writers: CatalogWriters, jobs: Jobs) -> None:
        self._edge = edge
        self._writers = writers
        self._jobs = jobs

    def handlers(self) -> Mapping[str, Handler]:
        """See `Service`."""
        handler = self._edge.handler
        return {
            "GetOperation": handler(GET, self._to_job, self._get),
            "ListOperations": handler(LIST, self._to_page, self._list),
            "CancelOperation": handler(CANCEL, self._to_job, self._cancel),
            "WaitOperation": handler(WAIT, self._to_wait, self._wait),
        }

    def _to_job(self, request: Named, catalog: CatalogPass, call: object) -> Job:
        self._writers.of(catalog)
        job = self._jobs.get(operation_in(request.name, catalog.catalog))
        if job is None or job.catalog != catalog.catalog:
            raise unknown_operation()
        return job

    async def _get(self, job: Job, catalog: CatalogPass, call: Call[lro.Operation]) -> None:
        await call.send(to_operation(job, call.request_id))

    async def _cancel(self, job: Job, catalog: CatalogPass, call: Call[Empty]) -> None:
        job.cancel()
        await call.send(Empty())

    def _to_wait(
        self, request: lro.WaitOperationRequest, catalog: CatalogPass, call: Call[lro.Operation]
    ) -> tuple[Job, float]:
        job = self._to_job(request, catalog, call)
        left_s = max(0.0, call.deadline - asyncio.get_running_loop().time() - MARGIN_S)
        if not request.HasField("timeout"):
            return job, left_s
        if request.timeout.ToNanoseconds() < 0:
            raise invalid("timeout", "must be 0 or more")
        return job, min(left_s, request.timeout.ToNanoseconds() / 1e9)

    async def _wait(self, wanted: tuple[Job, float], catalog: CatalogPass, call: Call[lro.Operation]) -> None:
        job, timeout_s = wanted
        await job.ended(timeout_s)
        await call.send(to_operation(job, call.request_id))

    def _to_page(self, request: lro.ListOperationsRequest, catalog: CatalogPass, call: object) -> tuple[int, str]:
        check_catalog("name", request.name)
        self._writers.of(catalog)
        if request.filter:
            raise invalid("filter", "filters of operations are not supported; leave it empty")
        if request.page_size < 0:
            raise invalid("page_size", "must be 0 or more")
        after = page_start(f"operations {catalog.catalog}", request.page_token)
        return min(request.page_size or PAGE, LARGEST_PAGE), after

    async def _list(self, page: tuple[int, str], catalog: CatalogPass, call: Call[lro.ListOperationsResponse]) -> None:
        size, after = page
        jobs = [job for job in self._jobs if job.catalog == catalog.catalog]
        ids = [job.id for job in jobs]
        # The operation may be forgotten by now; those after it were forgotten before it.
        start = ids.index(after) + 1 if after in ids else (len(ids) if after else 0)
        shown = jobs[start : start + size]
        more = start + size < len(jobs)
        token = page_token(f"operations {catalog.catalog}", shown[-1].id) if more else ""
        operations = [to_operation(job, call.request_id) for job in shown]
        await call.send(lro.ListOperationsResponse(operations=operations, next_page_token=token))
