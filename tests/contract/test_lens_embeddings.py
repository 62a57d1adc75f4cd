"""Searches of embeddings through a real channel: the events, each bad input, grants, limits and rights."""

import hashlib
import logging
import struct
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import generate_latest

from sightline.v1 import lens_service_pb2 as pb
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.asking import asked, box, events_of, kinds
from tests.support.embeddings import EMBEDDER, VECTORS, embedded, search_embeddings, vector
from tests.support.grants import MARK, ConsentService, hash_of, header
from tests.support.lens import Failed, FakeEngine, FakeSnapshot, Served, failed, serving
from tests.support.tokens import Entrance, add_key, bearer

CODE = grpc.StatusCode
POLICY = """
[principals.app]
catalogs = ["default"]
methods = ["search"]

[principals.device]
catalogs = ["default"]
methods = ["embeddings"]
"""
WIDE = EmbedderSpec("wide", "1", 24, 24, 12, sha256="f" * 64)


def parts_hash(parts: Sequence[bytes]) -> str:
    """The claim `pht` of several parts, as docs/guide/consent.md defines it."""
    whole = b"".join(struct.pack(">Q", len(part)) + part for part in parts)
    return urlsafe_b64encode(hashlib.sha256(whole).digest()).rstrip(b"=").decode()


class Near(FakeSnapshot):
    """A snapshot that keeps the vectors that it was asked for."""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.asked: list[Any] = []

    async def nearest(self, queries: Any, k: int, by_group: Any = None) -> Any:
        self.asked += list(np.array(queries))
        return await super().nearest(queries, k, by_group)


async def test_embeddings_have_the_events_of_a_photo_and_run_no_model() -> None:
    index = Near()
    async with serving(index=index) as served:
        events = await events_of(search_embeddings(served, embedded(max_products=2)))
        assert kinds(events) == ["accepted", "detected", "results", "results", "done"]
        assert [each.object_id for each in events[1].detected.objects] == ["o1", "o2"]
        assert {each.source for each in events[1].detected.objects} == {pb.OBJECT_SOURCE_EMBEDDING}
        assert [event.results.object_id for event in events[2:4]] == ["o1", "o2"]
        assert [[each.product.id for each in event.results.products] for event in events[2:4]] == [["p0", "p1"]] * 2
        done = events[-1].done
        assert (done.embedder, done.detector, done.catalog) == (EMBEDDER, "", "default")
        assert done.timings.total_ms > 0 and done.timings.decode_ms == done.timings.embed_ms == 0
        models = served.engine.models
        assert models["detector"].batches == models["embedder"].batches == []
        assert served.value("requests_total", method="SearchEmbeddings", code="OK") == 1
        assert served.value("objects_total", outcome="searched") == 2
    sent = [np.frombuffer(each, "<f4") for each in VECTORS]
    np.testing.assert_allclose(index.asked, sent, atol=1e-6)


async def test_a_vector_within_the_tolerance_is_searched_with_length_one() -> None:
    index = Near()
    longer = (np.frombuffer(VECTORS[0], "<f4") * np.float32(1.003)).astype("<f4").tobytes()
    async with serving(index=index) as served:
        await events_of(search_embeddings(served, embedded(vectors=[longer])))
    assert float(np.linalg.norm(index.asked[0])) == pytest.approx(1.0, abs=1e-6)


async def test_embeddings_give_the_products_of_the_photo_that_they_are_of() -> None:
    async with serving() as served:
        of_photo = await events_of(served.search(asked(regions=[box(0, 0, 1, 1)])))
        of_vector = await events_of(search_embeddings(served, embedded(vectors=VECTORS[:1])))
        assert of_photo[2].results.products == of_vector[2].results.products


BAD: dict[str, tuple[dict[str, Any], Any, str, str]] = {
    "no embedder": ({"embedder": ""}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "embedder"),
    "another embedder": ({"embedder": f"{MARK}@0"}, CODE.FAILED_PRECONDITION, "EMBEDDER_MISMATCH", ""),
    "only the name": ({"embedder": "tiny-embedder"}, CODE.FAILED_PRECONDITION, "EMBEDDER_MISMATCH", ""),
    "no vectors": ({"vectors": []}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors"),
    "too many": ({"vectors": [VECTORS[0]] * 17}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors"),
    "empty": ({"vectors": [VECTORS[0], b""]}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors[1]"),
    "too short": ({"vectors": [VECTORS[0][:-4]]}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors[0]"),
    "too long": ({"vectors": [VECTORS[0] + bytes(4)]}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors[0]"),
    "half a number": ({"vectors": [VECTORS[0] + bytes(2)]}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors[0]"),
    "zero": ({"vectors": [bytes(16)]}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors[0]"),
    "not finite": (
        {"vectors": [struct.pack("<4f", 1, float("nan"), 0, 0)]},
        CODE.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "vectors[0]",
    ),
    "infinite": (
        {"vectors": [VECTORS[0], struct.pack("<4f", float("inf"), 0, 0, 0)]},
        CODE.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "vectors[1]",
    ),
    "huge": ({"vectors": [struct.pack("<4f", *[3e38] * 4)]}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "vectors[0]"),
    "of length two": (
        {"vectors": [struct.pack("<4f", 2, 0, 0, 0)]},
        CODE.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "vectors[0]",
    ),
    "big-endian": (
        {"vectors": [struct.pack(">4f", 0.1, 0.3, 0.5, 0.8)]},
        CODE.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "vectors[0]",
    ),
    "products": ({"max_products": 101}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "max_products"),
    "similarity": ({"min_similarity": 1.5}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "min_similarity"),
    "lane": ({"lane": 7}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "lane"),
    "filter": ({"filter": pb.Filter(brands=[" "])}, CODE.INVALID_ARGUMENT, "INVALID_REQUEST", "filter.brands[0]"),
    "catalog": ({"catalog": MARK}, CODE.NOT_FOUND, "UNKNOWN_CATALOG", ""),
    "grant": ({"grant": MARK}, CODE.UNIMPLEMENTED, "NOT_BUILT", ""),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_is_refused_by_its_field_and_not_repeated(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields, code, reason, field = BAD[name]
    with caplog.at_level(logging.DEBUG):
        async with serving(index=FakeSnapshot()) as served:
            refusal = await failed(search_embeddings(served, embedded(**fields)))
            assert (refusal.events, refusal.code, refusal.reason) == ([], code, reason)
            if field:
                assert refusal.details["BadRequest"].field_violations[0].field == field
            assert served.index.queries == []
            assert kinds(await events_of(search_embeddings(served, embedded())))[-1] == "done"
    shown = "\n".join(str(vars(each)) for each in caplog.records) + str(refusal)
    assert MARK not in shown and "nan" not in refusal.message and "3e+38" not in refusal.message


async def test_bytes_that_are_not_a_request_are_refused() -> None:
    async with serving() as served:
        for raw in (b"\xff" * 40, b"\x12\x00" * 70, b"\x12" + b"\xff\xff\xff\x7f"):
            method: Any = served.channel.unary_stream("/sightline.v1.LensService/SearchEmbeddings")
            call = method(raw, timeout=20)
            assert await call.code() is CODE.INVALID_ARGUMENT


async def test_the_whole_digest_names_the_embedder_too() -> None:
    async with serving() as served:
        request = embedded(embedder=f"tiny-embedder@{'e' * 64}")
        assert kinds(await events_of(search_embeddings(served, request)))[-1] == "done"


async def test_a_catalog_whose_embedder_changes_meanwhile_refuses_and_searches_nothing() -> None:
    engine = FakeEngine(embedder_wide=WIDE)
    async with serving(engine=engine, index=FakeSnapshot()) as served:
        wide = FakeSnapshot(revision="rev-2", embedder=WIDE.identity, dimension=12)
        check = served.pipeline.embedder_for

        def and_then_another(catalog: Any) -> Any:
            spec = check(catalog)
            served.catalogs.publish(wide)
            return spec

        served.pipeline.embedder_for = and_then_another  # type: ignore[method-assign]
        refusal = await failed(search_embeddings(served, embedded()))
        assert (refusal.code, refusal.reason) == (CODE.FAILED_PRECONDITION, "EMBEDDER_MISMATCH")
        assert refusal.details["ErrorInfo"].metadata["embedder"] == WIDE.identity
        assert WIDE.identity in refusal.message
        assert wide.queries == []
        request = embedded(embedder=WIDE.identity, vectors=[vector(*range(1, 13))])
        assert kinds(await events_of(search_embeddings(served, request)))[-1] == "done"


async def test_an_index_that_fails_fails_the_objects_as_for_photos() -> None:
    index = FakeSnapshot(failure=SightlineError(ErrorKind.INTERNAL, "internal error"))
    async with serving(index=index) as served:
        events = await events_of(search_embeddings(served, embedded()))
        assert kinds(events) == ["accepted", "detected", "failure", "failure", "done"]


@asynccontextmanager
async def consenting(service: ConsentService, **options: Any) -> AsyncIterator[Served]:
    """A server whose catalog `default` requires grants; those of `free` are off and of `asking` optional."""
    catalogs: dict[str, Any] = {name: {"path": f"/{name}"} for name in ("default", "free", "asking")}
    catalogs["free"]["consent"], catalogs["asking"]["consent"] = "off", "optional"
    others = [FakeSnapshot("free"), FakeSnapshot("asking")]
    consent = service.settings("required", **options.pop("consent", {}))
    async with serving(index=FakeSnapshot(), others=others, consent=consent, catalogs=catalogs, **options) as served:
        yield served


@pytest.fixture
def service(tmp_path: Path) -> ConsentService:
    return ConsentService(tmp_path)


async def refused(served: Served, grant: str = "", metadata: Any = None, **fields: Any) -> Failed:
    """The refusal of a search under `grant`; no vector was searched for it."""
    before = list(served.index.queries)
    refusal = await failed(search_embeddings(served, embedded(grant=grant, **fields), metadata=metadata))
    assert (refusal.events, served.index.queries) == ([], before)
    return refusal


async def answered(served: Served, grant: str = "", metadata: Any = None, **fields: Any) -> bool:
    """Returns whether a search under `grant` succeeds."""
    call = search_embeddings(served, embedded(grant=grant, **fields), metadata=metadata)
    return kinds(await events_of(call))[-1] == "done"


async def test_a_grant_for_the_vectors_works_once_and_none_is_refused(service: ConsentService) -> None:
    async with consenting(service) as served:
        missing = await refused(served)
        assert (missing.code, missing.reason) == (CODE.FAILED_PRECONDITION, "GRANT_MISSING")
        grant = service.grant(pht=parts_hash(VECTORS), catalog="default")
        assert await answered(served, grant, header(grant))
        assert (await refused(served, grant)).reason == "GRANT_REPLAYED"
        assert await answered(served, catalog="free")
        assert await answered(served, service.grant(pht=parts_hash(VECTORS)), catalog="asking")


@pytest.mark.parametrize(
    "pht",
    [
        parts_hash(VECTORS[::-1]),
        parts_hash(VECTORS[:1]),
        parts_hash([b"".join(VECTORS)]),
        parts_hash([*VECTORS, b""]),
        hash_of(b"".join(VECTORS)),
        hash_of(VECTORS[0]),
        parts_hash([]),
    ],
    ids=["other-order", "fewer", "joined", "one-more", "without-lengths", "as-a-photo", "of-nothing"],
)
async def test_a_grant_for_other_vectors_is_refused(service: ConsentService, pht: str) -> None:
    async with consenting(service) as served:
        refusal = await refused(served, service.grant(pht=pht))
        assert (refusal.code, refusal.reason) == (CODE.PERMISSION_DENIED, "GRANT_OTHER_PHOTO")


async def test_bad_grants_and_bad_vectors_leave_the_grant_unused(service: ConsentService) -> None:
    async with consenting(service, limits={"max_concurrent_calls": 2}) as served:
        grant = service.grant(pht=parts_hash(VECTORS))
        assert (await refused(served, grant, vectors=[bytes(16)])).reason == "INVALID_REQUEST"
        assert (await refused(served, grant, embedder="other@1")).reason == "EMBEDDER_MISMATCH"
        assert (await refused(served, grant, vectors=VECTORS[:1])).reason == "GRANT_OTHER_PHOTO"
        assert (await refused(served, grant, (("sightline-catalog", "asking"),))).reason == "INVALID_REQUEST"
        bad: list[tuple[dict[str, Any], str]] = [
            ({"aud": "other"}, "GRANT_INVALID"),
            ({"purpose": "advertising"}, "GRANT_PURPOSE"),
            ({"iat": 1, "exp": 61}, "GRANT_EXPIRED"),
            ({"catalog": "asking"}, "GRANT_INVALID"),
        ]
        for changes, reason in bad:
            other = service.grant(**{"pht": parts_hash(VECTORS), **changes})
            assert (await refused(served, other)).reason == reason
        assert await answered(served, grant)


async def test_overload_leaves_the_grant_unused(service: ConsentService) -> None:
    async with consenting(service, limits={"max_concurrent_calls": 2}) as served:
        grant = service.grant(pht=parts_hash(VECTORS))
        served.engine.models["detector"].gate.clear()
        inside = [served.search(asked(grant=service.grant())) for _ in range(2)]
        for call in inside:
            await call.read()
        full = await refused(served, grant)
        assert (full.code, full.reason) == (CODE.RESOURCE_EXHAUSTED, "OVERLOADED")
        served.engine.models["detector"].gate.set()
        for call in inside:
            await events_of(call)
        assert await answered(served, grant)


async def test_photos_and_embeddings_of_a_pseudonym_are_counted_together(service: ConsentService) -> None:
    async with consenting(service, pseudonym_quota={"photos_per_minute": 1, "burst": 2}) as served:
        await events_of(served.search(asked(grant=service.grant(rate="today"))))
        assert await answered(served, service.grant(rate="today", pht=parts_hash(VECTORS)))
        refusal = await refused(served, service.grant(rate="today", pht=parts_hash(VECTORS)))
        assert (refusal.code, refusal.reason) == (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")


async def test_the_policy_withholds_embeddings_from_those_that_may_only_search_photos(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path, POLICY)
    device = bearer(add_key(entrance.keys, "device"))
    async with serving(rights=entrance.settings) as served:
        credential = bearer(entrance.app_key)
        assert kinds(await events_of(search_embeddings(served, embedded(), metadata=device)))[-1] == "done"
        assert (await failed(served.search(asked(), metadata=device))).code is CODE.PERMISSION_DENIED
        assert kinds(await events_of(served.search(asked(), metadata=credential)))[-1] == "done"
        refusal = await failed(search_embeddings(served, embedded(), metadata=credential))
        assert (refusal.code, refusal.reason) == (CODE.PERMISSION_DENIED, "PERMISSION_DENIED")
        anonymous = await failed(search_embeddings(served, embedded()))
        assert anonymous.code is CODE.UNAUTHENTICATED


async def test_an_embedding_is_in_no_log_line_and_no_metric(caplog: pytest.LogCaptureFixture) -> None:
    numbers = np.frombuffer(VECTORS[0], "<f4")
    with caplog.at_level(logging.DEBUG):
        async with serving() as served:
            await events_of(search_embeddings(served, embedded()))
            shown = generate_latest(served.metrics.registry).decode()
    shown += "\n".join(str(vars(each)) for each in caplog.records)
    assert not any(f"{number:.3f}" in shown for number in numbers)
    assert FakeEngine().embedder.identity == EMBEDDER
