"""The edge with two services on a real channel: the order of a call, and what a second service gets without code."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_server.access.audit import LogAudit
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.checks import Access
from sightline_server.access.policy import Decision, Subject
from sightline_server.access.principal import Caller, Presented, Principal
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.registry import Registry
from sightline_server.ports import Snapshot
from sightline_server.rpc.fields import USUAL_FIELDS
from sightline_server.rpc.lens.service import LensService
from sightline_server.rpc.method import Method, Target
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import Failed, FakeSnapshot, Served, details_of, failed, serving, until
from tests.support.prices import GET_PRICE, NAME, GetPriceRequest, Price, PriceService

AUDIT = "sightline_server.access.audit"
EVERYTHING = {(catalog, lane) for catalog in ("a", "b", "c") for lane in Lane}
RIGHTS = {"shop": EVERYTHING, "app": {("a", Lane.INTERACTIVE)}}


def by_name(presented: Presented) -> Principal:
    """Believes what the caller says."""
    for key, value in presented.headers:
        if key == "x-caller":
            return Principal(str(value))
    raise SightlineError(ErrorKind.UNAUTHENTICATED, "the call does not say who makes it")


class Rules:
    """Satisfies `Policy` by `RIGHTS`."""

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        return Decision((catalog, lane) in RIGHTS.get(caller.principal.name, set()), "by the rules")

    def admit(self, caller: Caller) -> Decision:
        return Decision(True, "by the rules", Subject.METHOD)

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        return Decision(True, "by the rules", Subject.LANE)


class LateCatalogs:
    """Satisfies `Catalogs` once the server has its registry, which comes after its services."""

    registry: Registry

    def lease(self, catalog: CatalogPass) -> AbstractContextManager[Snapshot]:
        return self.registry.lease(catalog)

    def embedders(self, granted: CatalogPass) -> Mapping[str, str]:
        return self.registry.embedders(granted)


class TwoServices:
    """A server with both services on one edge."""

    def __init__(self, server: Served) -> None:
        self.channel = server.channel
        self.metrics = server.metrics
        self.admission = server.door.admission
        self.edge = server.door.edge
        self.registry = server.catalogs
        self.engine = server.engine

    def search(self, request: lens_service_pb2.SearchRequest, caller: str) -> Any:
        stub: Any = lens_service_pb2_grpc.LensServiceStub(self.channel)
        return stub.Search(request, metadata=(("x-caller", caller),))

    async def price(self, caller: str = "shop", **request: Any) -> Any:
        return await self.raw_price(GetPriceRequest(**request).SerializeToString(), caller)

    async def raw_price(self, raw: bytes, caller: str = "shop") -> Any:
        method: Any = self.channel.unary_unary(f"/{NAME}/GetPrice", response_deserializer=Price.FromString)
        return await method(raw, metadata=(("x-caller", caller),), timeout=30)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sightline_{name}", labels)


def by_the_rules(catalogs: CatalogNames) -> Access:
    return Access(identify=by_name, policy=Rules(), audit=LogAudit(), catalogs=catalogs)


@asynccontextmanager
async def two_services() -> AsyncIterator[TwoServices]:
    late = LateCatalogs()
    async with serving(
        index=FakeSnapshot("a", "a-1"),
        others=[FakeSnapshot("b", "b-1")],
        access=by_the_rules,
        services=lambda edge: [PriceService(edge, late)],
        catalogs={name: {"path": f"/{name}"} for name in ("a", "b")},
    ) as server:
        late.registry = server.catalogs
        yield TwoServices(server)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def audited(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of the denials in the log."""
    names = ("principal", "service", "method", "catalog", "lane", "decision", "reason")
    records = [each for each in caplog.records if each.name == AUDIT and each.levelno == logging.WARNING]
    return [{name: value for name in names if (value := getattr(each, name)) is not None} for each in records]


async def test_both_services_answer_and_are_counted_by_method(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with two_services() as served:
            assert await served.price(catalog="b", row=3) == Price(title="Product 3 of b-1", revision="b-1")
            assert await served.price() == Price(title="Product 0 of a-1", revision="a-1")
            assert kinds(await events_of(served.search(asked(catalog="b"), "shop")))[-1] == "done"
            await until(lambda: served.value("requests_total", method="Search", code="OK") == 1)
            assert served.value("requests_total", method="GetPrice", code="OK") == 2
            assert served.value("request_seconds_count", method="GetPrice", code="OK") == 2
            # It is made of searches alone, and a code that has not occurred is there as 0.
            assert served.value("first_result_seconds_count") == 1
            assert served.value("requests_total", method="GetPrice", code="PERMISSION_DENIED") == 0
            assert served.admission.inside == 0
    lines = [each for each in caplog.records if each.name == "sightline_server.rpc.call"]
    assert [(each.getMessage(), getattr(each, "code", "")) for each in lines] == [
        ("GetPrice", "OK"),
        ("GetPrice", "OK"),
        ("Search", "OK"),
    ]
    assert audited(caplog) == []


async def test_health_and_reflection_know_both_services() -> None:
    async with two_services() as served:
        stub = health_pb2_grpc.HealthStub(served.channel)
        for service in ("", NAME, LensService.name):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(served.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        [listed] = [answer async for answer in reflection.ServerReflectionInfo(iter([request]))]
        assert {NAME, LensService.name} < {each.name for each in listed.list_services_response.service}


async def test_a_denied_call_says_little_and_leaves_an_audit_record(caplog: pytest.LogCaptureFixture) -> None:
    async with two_services() as served:
        error = await refused(served.price("app", catalog="b"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert (error.details() or "").startswith("catalog: there is no such catalog")
        info = details_of(error)["ErrorInfo"]
        assert (info.reason, info.domain) == ("UNKNOWN_CATALOG", "sightline")
        await until(lambda: served.value("requests_total", method="GetPrice", code="NOT_FOUND") == 1)
        assert served.value("refusal_seconds_count", reason="UNKNOWN_CATALOG") == 1
        assert served.admission.inside == 0
        assert await served.price("app", catalog="a") == Price(title="Product 0 of a-1", revision="a-1")
    [record] = [each for each in caplog.records if each.name == AUDIT]
    assert getattr(record, "request_id", None) == info.metadata["request_id"]
    assert audited(caplog) == [
        {
            "principal": "app",
            "service": NAME,
            "method": "GetPrice",
            "catalog": "b",
            "lane": "interactive",
            "decision": "denied",
            "reason": "by the rules",
        }
    ]


@pytest.mark.parametrize("catalog", ["b", "c", "no-such-catalog", "x" * 300])
async def test_a_denial_comes_before_validation_and_does_not_say_what_exists(catalog: str) -> None:
    async with two_services() as served:
        wrong = await refused(served.price("app", catalog=catalog, row=-1))
        right = await refused(served.price("app", catalog=catalog))
        for error in (wrong, right):
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert set(details_of(error)) == {"ErrorInfo", "ResourceInfo"}
        assert wrong.details() == right.details() == (await refused(served.price("app", catalog="b"))).details()


async def test_an_allowed_call_is_validated() -> None:
    async with two_services() as served:
        error = await refused(served.price(row=-1))
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "row: must be 0 or more")
        [violation] = details_of(error)["BadRequest"].field_violations
        assert violation.field == "row"
        error = await refused(served.price(catalog="c"))
        assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"\xff" * 9, "not a shop.v1.GetPriceRequest"), (b"\x10\x00" * (USUAL_FIELDS + 1), "more than 48 fields")],
    ids=["bytes", "fields"],
)
async def test_bytes_of_a_second_service_are_checked_as_those_of_the_first(raw: bytes, said: str) -> None:
    async with two_services() as served:
        error = await refused(served.raw_price(raw))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert said in (error.details() or "")


async def test_a_denied_search_is_not_decoded_and_its_photo_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    canary = b"canary-of-the-photo" * 100
    with caplog.at_level(logging.DEBUG):
        async with two_services() as served:
            # Three faults that validation and decoding would find, and no right to this lane.
            request = asked(
                photo=canary,
                max_objects=-1,
                regions=[box(1, 1, 0, 0)],
                lane=lens_service_pb2.LANE_BATCH,
                grant="g-r-a-n-t",
            )
            denial = await failed(served.search(request, "app"))
            await until(lambda: served.value("open_calls") == 0)
            assert served.engine.models["detector"].batches == []
    assert (denial.events, denial.code) == ([], grpc.StatusCode.NOT_FOUND)
    [record] = audited(caplog)
    assert (record["method"], record["lane"], record["catalog"]) == ("Search", "batch", "a")
    everything = "\n".join(str(vars(each)) for each in caplog.records)
    for secret in ("canary", "g-r-a-n-t"):
        assert secret not in everything


async def test_a_lane_that_is_not_known_is_authorised_before_it_is_refused() -> None:
    async with two_services() as served:
        denial = await failed(served.search(asked(catalog="b", lane=99), "app"))
        assert denial.code is grpc.StatusCode.NOT_FOUND
        refusal = await failed(served.search(asked(catalog="b", lane=99), "shop"))
        assert (refusal.code, refusal.message) == (grpc.StatusCode.INVALID_ARGUMENT, "lane: this lane is not known")


@pytest.mark.parametrize("path", [f"/{NAME}/GetPrice", "/sightline.v1.LensService/Search"])
async def test_an_unknown_caller_is_refused_before_the_message_is_read(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_services() as served:
        call: Any = served.channel.stream_stream(path)(timeout=30)
        error = await refusal_of(call)
        assert (error.code, error.message) == (grpc.StatusCode.UNAUTHENTICATED, "the call does not say who makes it")
        assert error.reason == "UNAUTHENTICATED"
    [record] = audited(caplog)
    service, _, method = path[1:].partition("/")
    assert record == {
        "service": service,
        "method": method,
        "decision": "denied",
        "reason": "the call does not say who makes it",
    }


async def refusal_of(call: Any) -> Failed:
    """The error of a call that sends nothing."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    error = caught.value
    return Failed([], error.code(), error.details() or "", details_of(error))


async def test_a_known_caller_is_admitted_before_the_message_is_read() -> None:
    async with two_services() as served:
        served.engine.ready = False
        call: Any = served.channel.stream_stream(f"/{NAME}/GetPrice")(metadata=(("x-caller", "nobody"),), timeout=30)
        assert (await refusal_of(call)).code is grpc.StatusCode.UNAVAILABLE


async def test_two_methods_of_one_name_are_refused_at_the_start() -> None:
    async with two_services() as served:
        with pytest.raises(ValueError, match="two methods are named GetPrice"):
            PriceService(served.edge, served.registry).handlers()


@pytest.mark.parametrize(("request_type", "response"), [(Price, Price), (GetPriceRequest, GetPriceRequest)])
def test_a_method_with_other_messages_than_its_contract_is_refused(request_type: Any, response: Any) -> None:
    with pytest.raises(ValueError, match=r"shop\.v1\.PriceService/GetPrice"):
        Method(GET_PRICE.descriptor, request_type, response, target=lambda request: Target(""))


async def test_a_server_without_a_policy_lets_anonymous_callers_in_and_audits_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, logger=AUDIT):
        async with serving() as served:
            assert kinds(await events_of(served.search(asked())))[-1] == "done"
    [record] = [each for each in caplog.records if each.name == AUDIT]
    fields = ("levelname", "principal", "service", "method", "catalog", "decision", "reason")
    assert [getattr(record, name) for name in fields] == [
        *("DEBUG", "anonymous", "sightline.v1.LensService", "Search", "default", "allowed"),
        "the server has no policy",
    ]
