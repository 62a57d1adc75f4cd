"""The description of a server, through a real channel: to whom about which catalog, and what is in it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from sightline.v1 import lens_service_pb2 as pb
from sightline.v1 import lens_service_pb2_grpc
from sightline_client import (
    AsyncClient,
    Client,
    ClientOptions,
    ConsentMode,
    InvalidRequestError,
    Lane,
    NotBuiltError,
    NotFoundError,
    PermissionDeniedError,
    ServerInfo,
)
from sightline_client.server_info import info_from_pb
from sightline_models.ranking_weights import shipped_weights
from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.domain.weights import parse_weights
from tests.support.embeddings import EMBEDDER
from tests.support.fake_lens import FakeLens
from tests.support.fake_lens import serving as serving_script
from tests.support.grants import ConsentService
from tests.support.lens import FakeEngine, FakeSnapshot, Served, details_of, serving
from tests.support.tokens import Entrance, add_key, bearer

CODE = grpc.StatusCode
WIDE = EmbedderSpec("wide", "1", 24, 32, 12, sha256="f" * 64)
POLICY = """
[principals.app]
catalogs = ["default", "gone"]
methods = ["search"]

[principals.night]
catalogs = ["shop"]
methods = ["GetServerInfo"]
lanes = ["batch"]

[principals.importer]
catalogs = ["shop"]
methods = ["read", "write", "embeddings"]
"""


async def asked(served: Served, metadata: Any = None, **fields: Any) -> pb.GetServerInfoResponse:
    """The answer of the server."""
    stub: Any = lens_service_pb2_grpc.LensServiceStub(served.channel)
    answer = await stub.GetServerInfo(pb.GetServerInfoRequest(**fields), metadata=metadata, timeout=20)
    assert isinstance(answer, pb.GetServerInfoResponse)
    return answer


async def refused(served: Served, metadata: Any = None, **fields: Any) -> grpc.aio.AioRpcError:
    """The error of the call."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(served, metadata, **fields)
    return caught.value


async def test_a_server_describes_each_catalog_with_its_embedder_and_consent(tmp_path: Path) -> None:
    service = ConsentService(tmp_path)
    catalogs: dict[str, Any] = {name: {"path": f"/{name}"} for name in ("a-shop", "default", "wide")}
    catalogs["wide"]["consent"], catalogs["a-shop"]["consent"] = "off", "optional"
    async with serving(
        engine=FakeEngine(embedder_wide=WIDE),
        index=FakeSnapshot("default"),
        others=[FakeSnapshot("a-shop"), FakeSnapshot("wide", embedder=WIDE.identity, dimension=12)],
        catalogs=catalogs,
        consent=service.settings("required"),
    ) as served:
        found = await asked(served)
        assert (found.catalogs[0].name, found.catalogs[0].embedder.id) == (served.door.names.default, EMBEDDER)
        by_name = {each.name: each for each in found.catalogs}
        assert set(by_name) == {"a-shop", "default", "wide"}
        assert [name for name, each in by_name.items() if each.is_default] == [served.door.names.default]
        assert (by_name["default"].consent, by_name["a-shop"].consent, by_name["wide"].consent) == (
            pb.CONSENT_MODE_REQUIRED,
            pb.CONSENT_MODE_OPTIONAL,
            pb.CONSENT_MODE_OFF,
        )
        wide = by_name["wide"].embedder
        assert (wide.id, wide.sha256, wide.dimension) == (WIDE.identity, "f" * 64, 12)
        assert (wide.input_width, wide.input_height) == (32, 24)
        assert json.loads(wide.preprocess_json) == WIDE.preprocess.facts()
        assert wide.ranking_weights == parse_weights(shipped_weights()).identity
        assert (await asked(served, catalog="wide")).catalogs[0] == by_name["wide"]
        assert found.server_version.count(".") >= 1
        assert (found.detector.id, list(found.detector.labels)) == (
            "tiny-detector@dddddddddddd",
            ["chair", "vase", "person"],
        )
        assert json.loads(found.detector.preprocess_json)["resize"] == "letterbox"
        limits = found.limits
        assert (limits.max_regions, limits.max_products, limits.default_objects) == (16, 100, 16)
        assert (limits.max_photo_bytes, list(limits.photo_formats)) == (20 << 20, ["jpeg", "png", "webp"])
        assert served.engine.models["embedder"].batches == []
        assert served.value("first_result_seconds_count") == 0


@pytest.mark.parametrize(
    ("detection", "found", "redacted", "labels"),
    [
        ({}, True, True, ["person"]),
        ({"redact_people": False}, True, False, ["person"]),
        ({"person_labels": []}, False, False, []),
        ({"person_labels": ["vase", "elsewhere"], "person_min_score": 0.5}, True, True, ["vase"]),
    ],
)
async def test_it_says_what_happens_to_people(
    detection: dict[str, Any], found: bool, redacted: bool, labels: list[str]
) -> None:
    async with serving(detection=detection) as served:
        people = (await asked(served)).people
        assert (people.found, people.redacted, list(people.labels)) == (found, redacted, labels)
        assert people.min_score == detection.get("person_min_score", 0.25)


async def test_a_detector_without_people_says_so() -> None:
    engine = FakeEngine()
    engine.detector = DetectorSpec("tiny-detector", "1", 64, 64, 8, ("chair", "vase"), sha256="d" * 64)
    async with serving(engine=engine) as served:
        people = (await asked(served)).people
        assert (people.found, people.redacted, list(people.labels)) == (False, False, [])


async def test_a_denied_and_an_absent_catalog_have_one_answer_and_lists_hide_both(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path, POLICY)
    night, importer = (bearer(add_key(entrance.keys, name)) for name in ("night", "importer"))
    app = bearer(entrance.app_key)
    async with serving(
        index=FakeSnapshot("default"),
        others=[FakeSnapshot("shop"), FakeSnapshot("secret")],
        rights=entrance.settings,
        catalogs={name: {"path": f"/{name}"} for name in ("default", "shop", "secret", "gone")},
    ) as served:
        assert [each.name for each in (await asked(served, app)).catalogs] == ["default"]
        assert [each.name for each in (await asked(served, app, catalog="default")).catalogs] == ["default"]
        errors = [await refused(served, app, catalog=name) for name in ("secret", "nowhere")]
        assert {each.code() for each in errors} == {CODE.NOT_FOUND}
        assert len({each.details() for each in errors}) == 1
        infos = [details_of(each)["ErrorInfo"] for each in errors]
        assert {each.reason for each in infos} == {"UNKNOWN_CATALOG"}
        assert [each.name for each in (await asked(served, night, lane=pb.LANE_BATCH)).catalogs] == ["shop"]
        assert (await refused(served, night)).code() is CODE.PERMISSION_DENIED
        assert (await refused(served, importer)).code() is CODE.PERMISSION_DENIED
        assert (await refused(served)).code() is CODE.UNAUTHENTICATED


async def test_a_catalog_that_is_away_is_left_out_and_named_when_asked_for() -> None:
    async with serving(
        index=FakeSnapshot("default"),
        others=[FakeSnapshot("shop")],
        catalogs={name: {"path": f"/{name}"} for name in ("default", "shop")},
    ) as served:
        served.catalogs.set_away("shop", True)
        assert [each.name for each in (await asked(served)).catalogs] == ["default"]
        assert (await refused(served, catalog="shop")).code() is CODE.UNAVAILABLE


@pytest.mark.parametrize(("fields", "field"), [({"lane": 9}, "lane"), ({"lane": 9, "catalog": "default"}, "lane")])
async def test_a_lane_that_is_not_known_is_refused(fields: dict[str, Any], field: str) -> None:
    async with serving() as served:
        error = await refused(served, **fields)
        assert error.code() is CODE.INVALID_ARGUMENT
        assert details_of(error)["BadRequest"].field_violations[0].field == field


async def test_both_clients_have_it_as_typed_values() -> None:
    async with serving() as served:
        async with AsyncClient(served.address) as client:
            info = await client.server_info()
            assert isinstance(info, ServerInfo)
            catalog = info.catalog()
            assert catalog is not None and catalog == info.catalog("default")
            assert (catalog.embedder.id, catalog.embedder.dimension) == (EMBEDDER, 4)
            assert catalog.embedder.preprocess["resize"] == "squash"
            assert len(catalog.embedder.ranking_weights) == 12
            assert (catalog.consent, info.people.redacted, info.limits.max_regions) == (ConsentMode.OFF, True, 16)
            assert info.catalog("elsewhere") is None
            answer = await client.find_embeddings([[1.0, 0.0, 0.0, 0.0]], embedder=catalog.embedder.id)
            assert answer.done is not None
            with pytest.raises(NotFoundError):
                await client.server_info("elsewhere")
            for wrong in ({"catalog": 7}, {"lane": "batch"}):
                with pytest.raises(InvalidRequestError):
                    await client.server_info(**wrong)
            assert await client.server_info("default", lane=Lane.BATCH, timeout_s=5.0) == info

        def blocking() -> ServerInfo:
            with Client(served.address) as client:
                return client.server_info()

        assert await asyncio.to_thread(blocking) == info


async def test_a_denied_caller_and_an_old_server_are_errors_of_ours(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path, POLICY)
    key = add_key(entrance.keys, "importer")
    async with (
        serving(
            rights=entrance.settings, catalogs={name: {"path": f"/{name}"} for name in ("default", "shop", "gone")}
        ) as served,
        AsyncClient(ClientOptions(served.address, token=key)) as client,
    ):
        with pytest.raises(PermissionDeniedError):
            await client.server_info()
    async with serving_script(FakeLens()) as target, AsyncClient(target) as client:
        with pytest.raises(NotBuiltError, match="too old"):
            await client.server_info()


def test_values_of_a_newer_server_are_unknown_and_broken_ones_are_left_out() -> None:
    message = pb.GetServerInfoResponse(catalogs=[pb.ServedCatalog(name="a", consent=9)])  # type: ignore[arg-type]
    message.catalogs[0].embedder.preprocess_json = "{broken"
    message.detector.preprocess_json = "[1]"
    info = info_from_pb(message)
    assert info.catalogs[0].consent is ConsentMode.UNKNOWN
    assert (info.catalogs[0].embedder.preprocess, info.detector.preprocess) == ({}, {})
    assert info.catalog() is None
